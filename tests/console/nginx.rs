//! A real nginx in front of servers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends with the test, however it ends.
pub(crate) struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Nginx {
    /// TLS on `port`, handing on `/muster` to a server.
    pub(crate) fn start(dir: &Path, port: u16, server: u16) -> Nginx {
        let site = format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;\n\
             location /muster {{ proxy_pass http://127.0.0.1:{server}; {FORWARDED} }} }}",
            dir = dir.display()
        );
        Nginx::run(dir, &site)
    }

    /// Plain HTTP on `port`, each request to the next of the servers.
    pub(crate) fn balance(dir: &Path, port: u16, servers: [u16; 2]) -> Nginx {
        let [one, other] = servers;
        let site = format!(
            "upstream both {{ server 127.0.0.1:{one}; server 127.0.0.1:{other}; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://both; {FORWARDED} }} }}"
        );
        Nginx::run(dir, &site)
    }

    fn run(dir: &Path, site: &str) -> Nginx {
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n\
             uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n{site} }}",
            dir = dir.display()
        );
        let file: PathBuf = dir.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        // A plain user's PATH leaves it out.
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/opt/homebrew/bin/nginx"];
        let program = program
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("nginx");
        let mut command = Command::new(program);
        command.arg("-c").arg(file).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Nginx(command.spawn().unwrap())
    }
}

/// What a server has to hear of the browser.
const FORWARDED: &str = "proxy_set_header X-Forwarded-Host $http_host; \
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;";

//! What a server writes about itself on the roll.

use crate::app::App;

/// What a server writes about itself.
#[derive(Debug, Clone)]
pub struct SelfPortrait {
    pub install_id: String,
    pub boot_id: String,
    pub boot_mark: String,
    /// The boot id of the process before us in this data directory.
    pub former_boot: String,
    pub cluster_id: String,
    pub host: String,
    pub data_path: String,
    pub version: String,
    pub pid: u32,
    pub interval_s: u32,
}

impl SelfPortrait {
    pub fn of(app: &App) -> SelfPortrait {
        SelfPortrait {
            install_id: app.install.id.clone(),
            boot_id: app.install.boot_id(),
            boot_mark: app.install.mark.clone(),
            former_boot: app.install.former_boot.clone(),
            cluster_id: app.cluster_id(),
            host: cut(&gethostname::gethostname().to_string_lossy(), 255),
            data_path: cut(&app.install.data.to_string_lossy(), 500),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            interval_s: app.heart_seconds(),
        }
    }

    /// Host name and short install id, so that no two new clusters share a name.
    pub fn first_name(&self) -> String {
        let short = cut(&self.install_id, 6);
        format!("{}-{short}", cut(self.host.split('.').next().unwrap_or_default(), 43))
    }
}

/// The start of a text that a column can hold.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

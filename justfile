set positional-arguments

# Behind everything else on PATH: cargo, and the servers that a plain user's PATH leaves out.
export PATH := env("PATH") + ":" + env("CARGO_HOME", env("HOME", "") / ".cargo") / "bin:/usr/local/sbin:/usr/sbin:/sbin"

_list:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Start the demo: two servers on one private MariaDB.
[no-exit-message]
run *ARGS: _rust (_need "compiler" "mariadb")
    @cargo run --locked -- demo "$@"

# Start one server: on the shared database of its settings, or on a private MariaDB.
[no-exit-message]
serve *ARGS: _rust (_need "compiler")
    @cargo run --locked --release -- serve "$@"

# Check the format and the lints, then run every test.
test: (_rust "rustfmt" "clippy") (_need "compiler" "mariadb" "browser" "font" "nginx" "node_exporter" "podman" "sshd" "busybox" "smtp")
    @echo "==> format"
    @cargo fmt --check
    @echo "==> lint"
    @cargo clippy --locked --all-targets -- -D warnings
    @echo "==> tests"
    @cargo test --locked

# Measure the speed against a private MariaDB; "pages", "members", "watch" or "footprint" measure one part.
bench *ARGS: _rust (_need "compiler" "mariadb" "wrk" "node_exporter" "blackbox" "django")
    @cargo bench --locked --bench bench -- "$@"

# Harm real servers in every way and check what must hold; names choose some, "--soak MINUTES" mixes faults at random.
faults *ARGS: _rust (_need "compiler" "mariadb" "faketime" "galera")
    @cargo test --locked --test faults -- --all "$@"

# Check the lints alone.
lint: (_rust "clippy") (_need "compiler")
    @cargo clippy --locked --all-targets -- -D warnings

# Rewrite the sources in the project's format.
fmt: (_rust "rustfmt")
    @cargo fmt

# Rust as new as Cargo.toml asks for, with the named components.
_rust *COMPONENTS:
    #!/bin/sh
    set -eu
    fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

    need=$(sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' Cargo.toml)
    have=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p') || have=
    if [ -z "$have" ]; then
        fail "cargo is missing: install Rust $need or newer, for instance with rustup"
    fi
    if [ "$(printf '%s\n' "$need" "$have" | sort -t . -k 1,1n -k 2,2n | head -n 1)" != "$need" ]; then
        fail "cargo is $have, and Muster needs $need or newer: run 'rustup update stable'"
    fi
    for component in "$@"; do
        if "cargo-${component#rust}" --version >/dev/null 2>&1; then continue; fi
        command -v rustup >/dev/null || fail "cargo lacks $component: install it beside cargo"
        printf '==> adding %s to Rust\n' "$component" >&2
        rustup component add "$component"
    done

# The system's programs that a recipe needs, from Debian's packages where they are missing.
_need +PARTS:
    #!/bin/sh
    set -eu
    say() { printf '%s\n' "$*" >&2; }
    has() { command -v "$1" >/dev/null 2>&1; }

    # Prints what a part lacks, one to a line.
    lacks() {
        case $1 in
        compiler) set -- cc ;;
        mariadb) set -- mariadbd mariadb-install-db my_print_defaults ;;
        browser) if has google-chrome; then set -- chromedriver; else set -- chromium chromedriver; fi ;;
        wrk) set -- wrk ;;
        nginx) set -- nginx ;;
        node_exporter) set -- prometheus-node-exporter ;;
        faketime) set -- faketime ;;
        galera)
            set -- rsync wsrep_sst_rsync
            [ -e /usr/lib/galera/libgalera_smm.so ] || echo galera
            ;;
        blackbox) set -- prometheus-blackbox-exporter ;;
        podman) set -- podman ;;
        django)
            set --
            for module in django gunicorn MySQLdb; do
                /usr/bin/python3 -c "import $module" 2>/dev/null || echo "$module"
            done
            ;;
        smtp)
            set --
            /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || echo aiosmtpd
            ;;
        sshd) set -- sshd ssh-keygen ;;
        busybox) set -- busybox ;;
        font)
            set --
            [ "$(uname)" = Darwin ] || fc-list :lang=zh-cn 2>/dev/null | grep -q . || echo 'a Chinese font'
            ;;
        esac
        for program in "$@"; do has "$program" || echo "$program"; done
    }

    packages() {
        case ${client:-apt-get}:$1 in
        apt-get:compiler) echo gcc libc6-dev ;;
        apt-get:mariadb) echo mariadb-server-core mariadb-client-core ;;
        apt-get:browser) echo chromium chromium-driver ;;
        apt-get:nginx) echo nginx-light ;;
        apt-get:sshd) echo openssh-server openssh-client ;;
        apt-get:busybox) echo busybox-static ;;
        apt-get:font) echo fontconfig fonts-wqy-microhei ;;
        apk:compiler) echo build-base ;;
        apk:mariadb) echo mariadb mariadb-client ;;
        apk:browser) echo chromium chromium-chromedriver ;;
        apk:font) echo fontconfig font-wqy-zenhei ;;
        dnf:sshd) echo openssh-server ;;
        dnf:mariadb) echo mariadb-server mariadb ;;
        pacman:browser) echo chromium ;;
        pacman:font) echo fontconfig wqy-microhei ;;
        *:compiler) echo gcc ;;
        *:mariadb) echo mariadb ;;
        *:browser) echo chromium chromedriver ;;
        *:font) echo fontconfig wqy-microhei-fonts ;;
        *:nginx) echo nginx ;;
        *:node_exporter) echo prometheus-node-exporter ;;
        *:blackbox) echo prometheus-blackbox-exporter ;;
        apk:faketime | dnf:faketime | pacman:faketime) echo libfaketime ;;
        *:faketime) echo faketime ;;
        apt-get:galera) echo galera-4 mariadb-server rsync ;;
        *:galera) echo galera rsync ;;
        *:podman) echo podman ;;
        apk:django) echo py3-django py3-gunicorn py3-mysqlclient ;;
        pacman:django) echo python-django gunicorn python-mysqlclient ;;
        dnf:django) echo python3-django python3-gunicorn python3-mysqlclient ;;
        *:django) echo python3-django python3-gunicorn python3-mysqldb ;;
        *:smtp) echo python3-aiosmtpd ;;
        *:sshd) echo openssh ;;
        *:busybox) echo busybox ;;
        *:wrk) echo wrk ;;
        esac
    }

    missing_of() {
        for part in "$@"; do lacks "$part"; done | paste -s -d , - | sed 's/,/, /g'
    }

    missing=$(missing_of "$@")
    if [ -z "$missing" ]; then exit 0; fi

    client=
    for known in apt-get dnf pacman zypper apk brew; do
        if has "$known"; then client=$known; break; fi
    done
    wanted=$(for part in "$@"; do if [ -n "$(lacks "$part")" ]; then packages "$part"; fi; done | paste -s -d ' ' -)
    case $client in
    apt-get) by_hand="apt-get update && apt-get install --no-install-recommends $wanted" ;;
    pacman) by_hand="pacman -S $wanted" ;;
    apk) by_hand="apk add $wanted" ;;
    '') by_hand="your system's packages; Debian calls them $wanted" ;;
    *) by_hand="$client install $wanted" ;;
    esac
    give_up() {
        say "error: $1. Missing: $missing. Install with: $by_hand"
        exit 1
    }
    [ "$client" = apt-get ] || give_up "nothing is installed by itself on this system"

    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    elif has sudo && [ -t 0 ]; then
        as_root=sudo
    else
        give_up "installing needs root's rights, or sudo without a password"
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt() {
        # At run level 1 no package starts a service.
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1
    }
    install() {
        say "==> installing $wanted"
        apt install -y --no-remove --no-install-recommends $wanted
    }
    failed() {
        cat "$log" >&2
        give_up "apt-get failed"
    }
    # The package lists may be absent or name versions that are gone: refreshed only then.
    if ! install; then
        say "==> refreshing the package lists"
        apt update || failed
        install || failed
    fi
    missing=$(missing_of "$@")
    [ -z "$missing" ] || give_up "the packages did not bring everything"

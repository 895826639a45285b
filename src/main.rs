//! huopan: arguments → runtime → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Two TLS providers are linked; nothing may choose one by chance.
    let _ = rustls::crypto::ring::default_provider().install_default();
    std::panic::set_hook(Box::new(huopan::cli::log_panic));
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(huopan::cli::main(std::env::args_os())),
        Err(_) => ExitCode::from(70),
    }
}

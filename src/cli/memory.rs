//! How the process takes its memory.
//!
//! The allocator asks for large pages (`.cargo/config.toml`), with which queries over large columns take up to a fifth less time.
//! What runs by night takes none: it works in small pieces, and would only hold more.

/// Takes small pages from now on, where the system has both. That it cannot is no fault: it only takes more memory.
pub(super) fn take_small_pages() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}

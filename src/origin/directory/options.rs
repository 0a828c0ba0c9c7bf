//! Settings of a directory as an origin.

use std::path::PathBuf;

/// A directory that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// The directory.
    pub root: PathBuf,
    /// Files looked for when a path ends with `/`, in order. Default `index.html`.
    pub index: Vec<String>,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
    /// Serve `name.br`, `name.zst` and `name.gz` beside `name` to clients that take them.
    pub precompressed: bool,
    /// `Cache-Control` of every file; none by default, so heuristics or the site decide.
    pub cache_control: Option<String>,
}

impl DirectoryOptions {
    /// Defaults for `root`.
    pub fn new(root: PathBuf) -> Self {
        DirectoryOptions {
            root,
            index: vec!["index.html".to_owned()],
            symlinks: Symlinks::Inside,
            precompressed: true,
            cache_control: None,
        }
    }
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// None.
    Never,
    /// Relative ones that stay inside the root.
    #[default]
    Inside,
    /// Any. Whoever can write in the root can then publish any readable file.
    Anywhere,
}

//! Writes archives in POSIX' ustar format.

/// Size of a header, and alignment of contents, in bytes.
const BLOCK: usize = 512;
/// Longest name without a directory.
const LONGEST_NAME: usize = 100;

/// An archive in memory.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a file that only its owner may read. The name must be ASCII, without a directory, and
    /// is cut to [`LONGEST_NAME`].
    pub(crate) fn add(&mut self, name: &str, contents: &[u8], unix: u64) {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &name.as_bytes()[..name.len().min(LONGEST_NAME)]);
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", contents.len()).as_bytes());
        put(136, format!("{unix:011o}\0").as_bytes());
        // The checksum is computed with spaces in its own field.
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(contents);
        let filled = self.0.len().next_multiple_of(BLOCK);
        self.0.resize(filled, 0);
    }

    /// Returns the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }
}

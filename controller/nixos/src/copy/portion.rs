//! A part of a binary cache as a tar (POSIX.1-1988 `ustar`), which a machine's Nix can import at once.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::archives::{Archive, narinfo_name};

const BLOCK: usize = 512;
const BLOCK_SIZE: u64 = BLOCK as u64;
const BUFFER: usize = 256 << 10;

/// Files, in order.
pub(super) struct Portion(Vec<Entry>);

struct Entry {
    name: String,
    size: u64,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    /// Of a path that is that long when it is no longer compressed.
    File(PathBuf, u64),
}

impl Portion {
    pub(super) fn of(archives: Vec<Archive>) -> Self {
        let mut entries = Vec::new();
        for Archive { member, narinfo, name, file, size } in archives {
            entries.push(Entry::bytes(narinfo_name(&member.path), narinfo));
            entries.push(Entry { name, size, content: Content::File(file, member.nar_size) });
        }
        Self(entries)
    }

    /// How many paths it brings.
    pub(super) fn paths(&self) -> u64 {
        self.0.iter().filter(|entry| matches!(entry.content, Content::File(..))).count() as u64
    }

    /// Of the tar, in bytes.
    pub(super) fn length(&self) -> u64 {
        let entries: u64 =
            self.0.iter().map(|entry| BLOCK_SIZE + entry.size.next_multiple_of(BLOCK_SIZE)).sum();
        entries + 2 * BLOCK_SIZE
    }

    /// Writes the tar; `sent` hears how many bytes of uncompressed archives each piece stands for.
    pub(super) async fn write(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        mut sent: impl FnMut(u64),
    ) -> std::io::Result<()> {
        for entry in &self.0 {
            to.write_all(&header(&entry.name, entry.size)).await?;
            match &entry.content {
                Content::Bytes(bytes) => to.write_all(bytes).await?,
                Content::File(file, stands_for) => {
                    let mut file = tokio::fs::File::open(file).await?.take(entry.size);
                    let (mut buffer, mut done, mut told) = (vec![0; BUFFER], 0, 0);
                    loop {
                        let read = file.read(&mut buffer).await?;
                        if read == 0 {
                            break;
                        }
                        to.write_all(&buffer[..read]).await?;
                        done += read as u64;
                        let now = share(*stands_for, done, entry.size);
                        sent(now - told);
                        told = now;
                    }
                    if done < entry.size {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
            let padding = entry.size.next_multiple_of(BLOCK_SIZE) - entry.size;
            to.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)]).await?;
        }
        to.write_all(&[0; 2 * BLOCK]).await
    }
}

impl Entry {
    fn bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { name: name.into(), size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }
}

fn share(of: u64, done: u64, all: u64) -> u64 {
    let share = u128::from(of) * u128::from(done) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(of)
}

/// The names here have less than 100 bytes, so each header is one block.
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(99)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // GNU's and star's way for more than eleven octal digits hold.
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\0");
    put(263, b"00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tar_reads_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("x");
        std::fs::write(&archive, [7; 700]).unwrap();
        let content = Content::File(archive.clone(), 7000);
        let portion = Portion(vec![
            Entry::bytes("a.narinfo", "text\n"),
            Entry { name: "nar/x.nar.zst".to_owned(), size: 700, content },
        ]);
        let (mut tar, mut told) = (Vec::new(), 0);
        portion.write(&mut tar, |bytes| told += bytes).await.unwrap();
        assert_eq!((tar.len() as u64, told), (portion.length(), 7000));

        let file = dir.path().join("t.tar");
        std::fs::write(&file, tar).unwrap();
        let run = std::process::Command::new("tar")
            .args(["-xf".as_ref(), file.as_os_str(), "-C".as_ref(), dir.path().as_os_str()])
            .output()
            .unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
        assert_eq!(std::fs::read(dir.path().join("a.narinfo")).unwrap(), b"text\n");
        assert_eq!(std::fs::read(dir.path().join("nar/x.nar.zst")).unwrap(), [7; 700]);

        std::fs::write(&archive, [7; 600]).unwrap();
        assert!(portion.write(&mut Vec::new(), |_| ()).await.is_err(), "it became shorter");
    }

    #[test]
    fn a_large_file_has_its_size_in_binary() {
        let block = header("nar/x", 1 << 40);
        assert_eq!(block[124..136], [0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
}

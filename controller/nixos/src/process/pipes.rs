//! The ends of a program's pipes that are ours. What comes out of them is bounded, whatever the program
//! is.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use super::Keep;
use super::text::Tail;

const MAX_STDOUT: u64 = 64 << 20;
const MAX_LINE: usize = 64 << 10;

pub(super) async fn feed(
    pipe: Option<tokio::process::ChildStdin>,
    bytes: &[u8],
) -> std::io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    match pipe.write_all(bytes).await {
        // A program that fails early does not read its input; its exit code tells more.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

pub(super) async fn read_bounded(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> std::io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let read = pipe.take(MAX_STDOUT + 1).read_to_end(into).await?;
    if read as u64 > MAX_STDOUT {
        return Err(std::io::Error::other(format!("more than {MAX_STDOUT} bytes")));
    }
    Ok(())
}

pub(super) async fn read_lines(
    pipe: Option<impl AsyncRead + Unpin>,
    tail: &mut Tail,
    watch: &mut (dyn FnMut(&str) -> Keep + Send),
) -> std::io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line).await? {
        let text = String::from_utf8_lossy(&line);
        if watch(&text) == Keep::Yes {
            tail.push(&text);
        }
        line.clear();
    }
    Ok(())
}

/// Reads one line without its end; what exceeds [`MAX_LINE`] is dropped, so that no tool can make
/// memory grow. `false` at the end of input.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let content = &available[..end.unwrap_or(available.len())];
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend_from_slice(&content[..content.len().min(room)]);
        let consumed = content.len() + usize::from(end.is_some());
        reader.consume(consumed);
        if end.is_some() {
            return Ok(true);
        }
    }
}

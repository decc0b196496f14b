//! HTTP/1.1 as a sender needs it and no more, so that a load costs the machine little.

use std::io;

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Largest answer that is read.
const LONGEST_ANSWER: usize = 4 << 20;

/// One connection, one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Where the body stands in the inbox.
    body: std::ops::Range<usize>,
    is_chunked: bool,
    /// Whether the connection can be used again.
    pub(crate) keeps: bool,
}

impl Connection {
    pub(crate) async fn open(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::with_capacity(4096) })
    }

    /// Whether the other side has neither closed nor said anything unasked.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request and reads its answer, which may come before all is sent.
    ///
    /// # Cancel safety
    ///
    /// None: a connection dropped or cancelled in between is spent.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.inbox.clear();
        let (mut reader, mut writer) = self.stream.split();
        let mut left = request;
        while !left.is_empty() {
            tokio::select! {
                biased;
                written = writer.write(left) => match written {
                    Ok(written) => left = &left[written..],
                    // closed after an answer that may still be in the inbox
                    Err(error) => {
                        let more = reader.read_buf(&mut self.inbox).await.unwrap_or_default();
                        return match parse(&self.inbox)? {
                            Some(reply) if more > 0 => Ok(Reply { keeps: false, ..reply }),
                            _ => Err(error),
                        };
                    }
                },
                read = reader.read_buf(&mut self.inbox) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    if let Some(reply) = parse(&self.inbox)? {
                        return Ok(Reply { keeps: false, ..reply });
                    }
                }
            }
        }
        loop {
            if let Some(reply) = parse(&self.inbox)? {
                return Ok(reply);
            }
            if reader.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.inbox.len() > LONGEST_ANSWER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not end"));
            }
        }
    }

    /// The body of the last reply.
    pub(crate) fn body(&self, reply: &Reply) -> Vec<u8> {
        let body = self.inbox.get(reply.body.clone()).unwrap_or_default();
        if reply.is_chunked { unchunk(body) } else { body.to_vec() }
    }
}

/// The reply, once all of it is there.
fn parse(inbox: &[u8]) -> io::Result<Option<Reply>> {
    let Some(end) = memmem::find(inbox, b"\r\n\r\n") else { return Ok(None) };
    let (head, start) = (&inbox[..end], end + 4);
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 answer");
    if !head.starts_with(b"HTTP/1.") {
        return Err(invalid());
    }
    let status = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).ok_or_else(invalid)?;
    if status == 100 {
        return parse(&inbox[start..])
            .map(|later| later.map(|reply| Reply { body: reply.body.start + start..reply.body.end + start, ..reply }));
    }
    let (mut length, mut is_chunked, mut keeps) = (0_usize, false, true);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(invalid)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            keeps = !value.eq_ignore_ascii_case(b"close");
        }
    }
    if is_chunked {
        let tail = &inbox[start..];
        let is_whole = tail == b"0\r\n\r\n" || tail.ends_with(b"\r\n0\r\n\r\n");
        return Ok(is_whole.then_some(Reply { status, body: start..inbox.len(), is_chunked, keeps }));
    }
    let body = start..start + length;
    Ok((inbox.len() >= body.end).then_some(Reply { status, body, is_chunked, keeps }))
}

fn unchunk(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len());
    while let Some(end) = memmem::find(chunks, b"\r\n") {
        let size =
            std::str::from_utf8(&chunks[..end]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let (Some(size), rest) = (size, &chunks[end + 2..]) else { break };
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body.extend_from_slice(chunk);
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: Close\r\n\r\n{\"status\":\"Ok\"}";
        for end in 0..answer.len() {
            assert_eq!(parse(&answer[..end]).unwrap(), None, "{end}");
        }
        let reply = parse(answer).unwrap().unwrap();
        assert_eq!((reply.status, reply.keeps, &answer[reply.body.clone()]), (200, false, &b"{\"status\":\"Ok\"}"[..]));

        let chunked = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(&chunked[..chunked.len() - 1]).unwrap(), None);
        let reply = parse(chunked).unwrap().unwrap();
        assert_eq!((reply.status, unchunk(&chunked[reply.body])), (503, b"abcde".to_vec()));

        let later = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(later).unwrap().unwrap().status, 204);
        assert!(parse(b"garbage\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn an_answer_that_came_before_a_hang_up_is_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let refusing = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            // leaves the body unread: closing resets the connection behind the answer
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        let mut connection = Connection::open(&authority).await.unwrap();
        let reply = connection.exchange(&vec![b'x'; 32 << 20]).await.unwrap();
        assert_eq!((reply.status, reply.keeps), (413, false));
        refusing.await.unwrap();
    }
}

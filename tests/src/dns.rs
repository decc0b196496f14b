//! A DNS server with one answer, which the test changes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata::A},
};

/// Answers every question for addresses with the same ones. Its thread ends with the test process.
#[derive(Debug)]
pub struct Dns {
    addr: SocketAddr,
    answer: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl Dns {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// No port can be taken.
    pub fn start(answer: &[Ipv4Addr]) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        let (addr, answer) = (socket.local_addr()?, Arc::new(Mutex::new(answer.to_vec())));
        let shared = answer.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
                let addresses = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(response) = respond(&buffer[..bytes], &addresses) {
                    // a client that is gone asks again
                    socket.send_to(&response, from).ok();
                }
            }
        });
        Ok(Self { addr, answer })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the answer.
    pub fn set(&self, answer: &[Ipv4Addr]) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.to_vec();
    }
}

fn respond(question: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let mut response = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    for query in &question.queries {
        response.add_query(query.clone());
        if query.query_type() == RecordType::A {
            let record = |address: &Ipv4Addr| Record::from_rdata(query.name().clone(), 1, RData::A(A(*address)));
            response.add_answers(addresses.iter().map(record));
        }
    }
    response.to_vec().ok()
}

//! What every disk does while nothing fails.

use std::io::ErrorKind;

use super::Disk;

pub(super) fn keeps_the_promises_of_the_trait(disk: &dyn Disk) {
    assert_eq!(disk.size().unwrap(), disk.size().unwrap(), "what is used does not change it");
    let file = disk.create("one").unwrap();
    assert_eq!(disk.create("one").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.open("other").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove("other").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename("other", "one").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(file.is_empty().unwrap());
    assert!(disk.is_there().unwrap());

    // A write beyond the end leaves zeros before it; a read stops at the end.
    file.write_at(b"hello", 1000).unwrap();
    assert_eq!(file.len().unwrap(), 1005);
    let mut buffer = [9; 16];
    assert_eq!(file.read_at(&mut buffer, 996).unwrap(), 9);
    assert_eq!(&buffer[..10], b"\0\0\0\0hello\x09");
    assert_eq!(file.read_at(&mut buffer, 5000).unwrap(), 0);

    // Reserving grows and never shrinks, and what is there stays.
    file.allocate(4000).unwrap();
    file.allocate(10).unwrap();
    assert_eq!(file.len().unwrap(), 4000);
    let mut buffer = [9; 8];
    assert_eq!(file.read_at(&mut buffer, 1003).unwrap(), 8);
    assert_eq!(&buffer, b"lo\0\0\0\0\0\0");

    // What was cut off reads as zeros when the file grows again.
    file.truncate(1002).unwrap();
    file.truncate(1010).unwrap();
    assert_eq!(file.read_at(&mut buffer, 1000).unwrap(), 8);
    assert_eq!(&buffer, b"he\0\0\0\0\0\0");
    file.sync_data().unwrap();

    // A rename replaces, an open handle follows the file and not its name.
    disk.create("two").unwrap().write_at(b"new", 0).unwrap();
    disk.rename("two", "one").unwrap();
    assert_eq!(disk.list().unwrap(), ["one"]);
    assert_eq!(disk.open("one").unwrap().len().unwrap(), 3);
    assert_eq!(file.len().unwrap(), 1010);

    // A removed file stays readable for those who hold it.
    let held = disk.open("one").unwrap();
    assert!(held.is_there().unwrap());
    disk.remove("one").unwrap();
    assert!(!held.is_there().unwrap());
    disk.sync_dir().unwrap();
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    assert_eq!(held.read_at(&mut buffer, 0).unwrap(), 3);
    assert_eq!(&buffer[..3], b"new");
}

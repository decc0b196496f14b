use super::*;

fn block(text: &str) -> Block {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn addresses(items: &[&str]) -> Result<Addresses, AddressError> {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().try_into()
}

#[test]
fn a_block_holds_the_addresses_that_share_its_first_bits_and_no_other() {
    for (written, inside, outside) in [
        ("52.6.248.125", &["52.6.248.125", "::ffff:52.6.248.125"][..], &["52.6.248.124", "::52.6.248.125"][..]),
        ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0", "::a00:1"]),
        ("192.168.4.0/22", &["192.168.4.0", "192.168.7.255"], &["192.168.3.255", "192.168.8.0"]),
        ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "2001:db8::1"]),
        ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "2001:db7:ffff::"]),
        ("2001:db8::1", &["2001:db8::1"], &["2001:db8::2"]),
        ("2001:db8::/65", &["2001:db8::7fff:0:0:0"], &["2001:db8::8000:0:0:0"]),
        ("::/0", &["::1", "2001:db8::1"], &["1.2.3.4", "::ffff:1.2.3.4"]),
        ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0", "::1"]),
        ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
        ("::ffff:0:0/96", &["1.2.3.4"], &["::1"]),
    ] {
        let block = block(written);
        for address in inside {
            assert!(block.contains(address.parse().unwrap()), "{address} is in {written}");
        }
        for address in outside {
            assert!(!block.contains(address.parse().unwrap()), "{address} is not in {written}");
        }
    }
}

#[test]
fn what_is_no_block_is_named_and_told_how_to_write_it() {
    for text in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0/8",
        "10.0.0.0/8/8",
        "10.0.0.256",
        "::/129",
        "fe80::1%eth0",
        "[::1]",
        "1.2.3.4:80",
        " 10.0.0.0/8",
        "example.com",
        "10.0.0.0/99999999999",
    ] {
        let error = text.parse::<Block>().unwrap_err();
        assert_eq!(error, AddressError::NotABlock(text.to_string()));
        assert!(
            error.to_string().contains(&format!("`{text}`")) && error.to_string().contains("10.0.0.0/8"),
            "{error}"
        );
    }
    for (text, meant) in [
        ("10.0.0.5/8", "10.0.0.0/8"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:10.0.0.5/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.0/90", "::ffc0:0:0/90"),
    ] {
        let error = text.parse::<Block>().unwrap_err();
        assert_eq!(error, AddressError::NotTheFirst { written: text.to_string(), meant: block(meant) });
        assert!(error.to_string().contains(&format!("write {meant}")), "{error}");
    }
}

#[test]
fn a_list_holds_what_any_of_its_items_holds() {
    let list = addresses(&["52.6.248.0", "10.0.0.0/8", "moengage:DC-06", "2001:db8::/32"]).unwrap();
    for address in ["52.6.248.0", "10.9.9.9", "16.78.137.157", "43.218.197.196", "2001:db8::9"] {
        assert!(list.contain(address.parse().unwrap()), "{address}");
    }
    for address in ["52.6.248.125", "11.0.0.1", "18.195.110.23", "2001:db9::9"] {
        assert!(!list.contain(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn each_data_centre_has_the_addresses_of_static_sending_and_of_streams() {
    let known = ["dc-01", "dc-02", "dc-03", "dc-04", "dc-05", "dc-06"];
    assert_eq!(data_centres(), known.map(|name| format!("moengage:{name}")));
    let counts = known.map(|name| published(name).unwrap().len());
    assert_eq!(counts, [9, 1, 1, 1, 1, 4]);
    for (name, address) in [
        ("dc-01", "34.207.33.10"),
        ("dc-01", "52.6.248.125"),
        ("dc-02", "18.195.110.23"),
        ("dc-03", "3.6.251.95"),
        ("dc-04", "18.217.73.1"),
        ("dc-05", "18.143.35.151"),
        ("dc-06", "108.137.84.19"),
        ("dc-06", "43.218.197.196"),
    ] {
        assert!(published(name).unwrap().contains(&block(address)), "{name} {address}");
    }
}

#[test]
fn an_empty_list_and_an_unknown_data_centre_say_what_there_is() {
    let empty = addresses(&[]).unwrap_err();
    assert_eq!(empty, AddressError::Empty);
    assert!(empty.to_string().contains("leave it out") && empty.to_string().contains("moengage:dc-01"), "{empty}");
    for name in ["moengage:dc-07", "moengage:", "moengage:#"] {
        let unknown = addresses(&[name]).unwrap_err();
        assert_eq!(unknown, AddressError::UnknownDataCentre(name.to_string()));
        assert!(unknown.to_string().contains("moengage:dc-01, moengage:dc-02"), "{unknown}");
    }
    assert_eq!(addresses(&["10.0.0.0/8", "x"]).unwrap_err(), AddressError::NotABlock("x".to_string()));
}

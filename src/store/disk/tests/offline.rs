//! A stopped store from outside.

use super::*;
use crate::store::disk::offline::{Found, Store};

fn all(store: &Store) -> Vec<Found> {
    let mut found = Vec::new();
    store.check(&mut |one| {
        found.push(one);
        true
    });
    found
}

#[test]
fn a_stopped_store_lists_what_is_live_and_a_rebuild_leaves_damage_out() {
    let dir = scratch();
    let options = options(dir.path());
    let disk = open(&options, &clock());
    assert!(Store::open(dir.path()).err().unwrap().to_string().contains("in use"));
    for n in [0u64, 1, 2, 0] {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 500))));
        assert!(sync(&disk));
    }
    disk.remove(&key(&disk, "http://a:80/2"));
    disk.close();
    let store = Store::open(dir.path()).unwrap();
    let found = all(&store);
    let keys = |found: &[Found]| -> Vec<String> {
        let live = found.iter().filter(|one| one.live);
        live.filter_map(|one| Some(one.content.clone().ok()?.0)).collect()
    };
    assert_eq!(found.len(), 5);
    assert_eq!(keys(&found), ["http://a:80/1", "http://a:80/0"]);
    drop(store);
    // One bit of the body of 1.
    let segment = dir.path().join("segments").join("0000000000000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[(found[1].offset + found[1].len - 64) as usize] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    assert_eq!(all(&store).iter().filter(|one| one.content.is_err()).count(), 1);
    let rebuilt = store.rebuild(&|| {}).unwrap();
    assert_eq!((rebuilt.kept, rebuilt.dropped), (4, 1));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(keys(&all(&store)), ["http://a:80/0"]);
    drop(store);
    assert!(get(&open(&options, &clock()), "http://a:80/0").is_some());
}

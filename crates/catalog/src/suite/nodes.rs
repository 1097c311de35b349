use std::time::Duration;

use super::support::{LOGGED, NOW, instance, new_pack, node, packed, stated};
use crate::{Catalog, CopyKind, Node};

/// A node says where it is; what it received and no bucket has is its to give.
pub(super) async fn nodes_tell_where_they_are_and_what_they_hold(catalog: &Catalog) {
    assert_eq!(catalog.nodes().await.expect("nodes"), []);
    assert_eq!(catalog.node_url(node()).await.expect("asked"), None);
    let received = [instance(1, "1.2", "1.2.1.1", &[]), instance(2, "1.2", "1.2.1.2", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let unheard = Node { node_id: node(), url: None, last_seen_at: None, held: 2 };
    assert_eq!(catalog.nodes().await.expect("nodes"), [unheard], "known by what it received");

    let later = NOW.plus(Duration::from_secs(9));
    catalog.announce_node(Some("https://a:1"), NOW, NOW).await.expect("announced");
    catalog.announce_node(Some("https://a:2"), later, later).await.expect("announced again");
    let here =
        Node { node_id: node(), url: Some("https://a:2".to_owned()), last_seen_at: Some(later), held: 2 };
    assert_eq!(catalog.nodes().await.expect("nodes"), [here]);
    assert_eq!(catalog.node_url(node()).await.expect("asked").as_deref(), Some("https://a:2"));

    let pack = new_pack(1, "1.2", false);
    catalog.record_packed(&pack, &[packed(1, 64, CopyKind::First)], &[], NOW).await.expect("pack");
    let required: &[&str] = &["main"];
    catalog.record_uploaded(pack.pack_id, "main", required, NOW).await.expect("upload");
    catalog.record_proven(pack.pack_id, "main", required, &stated(1), NOW).await.expect("prove");
    assert_eq!(catalog.log_position().await.expect("asked"), None);
    catalog.record_logged(&[stated(1).fact_id], LOGGED, NOW).await.expect("log");
    assert_eq!(catalog.log_position().await.expect("asked"), Some(LOGGED));
    let held: Vec<u64> = catalog.nodes().await.expect("nodes").iter().map(|node| node.held).collect();
    assert_eq!(held, [1], "what is verified no single node holds");
}

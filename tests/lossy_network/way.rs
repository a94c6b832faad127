//! Packets that are lost on the way to a server and back.

use super::own_network::Network;

/// The way to a server's port and back, on which packets are lost.
pub(crate) struct Way<'network> {
    port: u16,
    network: &'network Network,
}

/// Packets since the way was spoiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packets {
    /// Those that ask for a new connection, lost or not.
    pub(crate) opening: u64,
    pub(crate) lost_to_server: u64,
    pub(crate) lost_to_client: u64,
}

impl<'network> Way<'network> {
    pub(crate) const fn to(port: u16, network: &'network Network) -> Self {
        Self { port, network }
    }

    /// Three of ten packets are lost, in both directions.
    pub(crate) fn loses_three_of_ten(&self) {
        self.loses(Some("numgen random mod 10 < 3"), Some("numgen random mod 10 < 3"));
    }

    /// What the client sends arrives; nothing of what the server sends does.
    pub(crate) fn loses_answers(&self) {
        self.loses(None, Some(""));
    }

    /// Nobody answers, not even that nobody is there.
    pub(crate) fn loses_all(&self) {
        self.loses(Some(""), Some(""));
    }

    /// Connections that are open now are dead, and neither side learns it; new ones live.
    pub(crate) fn kills_connections(&self) {
        self.loses(Some("tcp sport != @opened"), Some("tcp dport != @opened"));
    }

    /// From now on, loses the packets for which this holds; `""` holds for all.
    fn loses(&self, to_server: Option<&str>, to_client: Option<&str>) {
        let (port, table) = (self.port, self.table());
        let drop = |lost: Option<&str>, counter| lost.map(|lost| format!("{lost} counter name {counter} drop"));
        let to_server = drop(to_server, "to_server").unwrap_or_default();
        let to_client = drop(to_client, "to_client").unwrap_or_default();
        self.network.load(&format!(
            "add table {table}\n\
             delete table {table}\n\
             table {table} {{\n\
               counter opening {{ }}\n\
               counter to_server {{ }}\n\
               counter to_client {{ }}\n\
               set opened {{ type inet_service; size 65535; flags dynamic; }}\n\
               chain to_server {{\n\
                 tcp flags & (syn | ack) == syn counter name opening add @opened {{ tcp sport }}\n\
                 {to_server}\n\
               }}\n\
               chain to_client {{\n\
                 {to_client}\n\
               }}\n\
               chain arriving {{\n\
                 type filter hook input priority 0\n\
                 tcp dport {port} jump to_server\n\
                 tcp sport {port} jump to_client\n\
               }}\n\
             }}\n"
        ));
    }

    pub(crate) fn heals(&self) {
        self.network.load(&format!("delete table {}", self.table()));
    }

    pub(crate) fn packets(&self) -> Packets {
        let packets = |counter| {
            let listed = self.network.list(&format!("counter {} {counter}", self.table()));
            let (_, after) = listed.split_once("packets ").expect("a counter");
            after.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        Packets {
            opening: packets("opening"),
            lost_to_server: packets("to_server"),
            lost_to_client: packets("to_client"),
        }
    }

    fn table(&self) -> String {
        format!("ip port_{}", self.port)
    }
}

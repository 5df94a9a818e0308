//! Watches a resource: reads it again each time the server says that it was updated.
//!
//! ```text
//! cargo run --example watch_resource
//! cargo run --example watch_resource -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use umcp::{Change, Client, ErrorKind, Result};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::open(support::server())?;
    let resources = client.list_resources()?;
    let Some(resource) = resources.first() else {
        println!("this server has no resources");
        return Ok(());
    };

    let updates = match client.subscribe().resource(&resource.uri).open() {
        Ok(updates) => updates,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            println!("this server does not say when a resource is updated");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // Another thread could end it at any time, and so could dropping it.
    let closer = updates.closer();
    let mut seen = 0;
    for change in updates {
        match change {
            Ok(Change::ResourceUpdated { uri }) => {
                let read = client.read_resource(&uri)?;
                println!("{uri} was updated, and has {} contents", read.contents.len());
            }
            Ok(Change::Missed { .. }) => println!("it may have been updated meanwhile"),
            Ok(other) => println!("{other:?}"),
            Err(end) if end.kind() == ErrorKind::Closed => println!("{end}"),
            Err(end) => return Err(end),
        }
        seen += 1;
        if seen == 3 {
            closer.close();
        }
    }
    Ok(())
}

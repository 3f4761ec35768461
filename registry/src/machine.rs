//! The names of machines in registrations (PROTOCOL 12.14).

use std::{fs, sync::OnceLock};

use crate::registration::Reach;

/// Returns the name of this machine, or `None` if the operating system does not provide it. The
/// name consists of the boot id of the machine and the network namespace of this process.
pub fn this_machine() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    NAME.get_or_init(read_name).as_deref()
}

fn read_name() -> Option<String> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::read_link("/proc/self/ns/net").ok()?;
    let (boot_id, network) = (boot_id.trim(), network.to_str()?);
    (!boot_id.is_empty()).then(|| format!("{boot_id} {network}"))
}

/// Returns whether an endpoint on the machine `there` can be called from the machine `here`.
pub(crate) fn is_same(there: &str, here: &str, reach: Reach) -> bool {
    let kernel = |name: &str| name.split(' ').next().map(str::to_owned);
    match reach {
        Reach::Everywhere => true,
        Reach::Machine => kernel(there) == kernel(here),
        // The process of a memory endpoint is unknown, so only the machine is compared.
        Reach::Network | Reach::Process => there == here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_share_unix_sockets_but_not_loopback_addresses() {
        for (here, network, machine) in [
            ("boot net:1", true, true),
            ("boot net:2", false, true),
            ("other net:1", false, false),
        ] {
            assert_eq!(is_same("boot net:1", here, Reach::Network), network);
            assert_eq!(is_same("boot net:1", here, Reach::Machine), machine);
            assert!(is_same("boot net:1", here, Reach::Everywhere));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_a_name_of_two_words() {
        assert_eq!(this_machine().unwrap().split(' ').count(), 2);
    }
}

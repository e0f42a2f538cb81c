//! Hosts that are not who the inventory says: damaged manifests, new names, other machines at known addresses.

use crate::bed::{Bed, assert_said, said};
use crate::fleet::Ran;

const FILE: &str = "[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n";
const OTHER: &str = "[[file]]\npath = \"/srv/b\"\ncontent = \"1\\n\"\n";

/// A host with one file of muster's, and a plan after that, which notes who the host is.
fn settled(count: usize) -> Bed {
    let bed = Bed::new(count);
    bed.project.module(FILE);
    bed.project.apply();
    bed.project.module(&format!("{FILE}{OTHER}"));
    bed
}

/// Asserts that neither a plan nor an apply does anything to a host, and that both say why.
fn assert_held(bed: &Bed, host: &str, why: &str) -> Ran {
    let state = "cat /var/lib/muster/manifest 2>/dev/null; ls -la --time-style=full-iso /srv";
    let before = bed.fleet.sh(host, &format!("{state}; true"));
    let plan = bed.project.muster(&["plan", "--no-input"]);
    assert_said(&plan, &[host, why]);
    assert!(
        matches!(plan.code, 1 | 3 | 4),
        "code {}: {}",
        plan.code,
        said(&plan)
    );
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_said(&ran, &[host, why]);
    assert!(matches!(ran.code, 1 | 3 | 4), "code {}: {}", ran.code, said(&ran));
    assert_eq!(
        bed.fleet.sh(host, &format!("{state}; true")),
        before,
        "something was done"
    );
    bed.fleet.sh(host, "test ! -e /srv/b");
    ran
}

#[test]
fn manifest_that_is_damaged_in_any_way_holds_the_host() {
    let bed = settled(2);
    let [host, other] = [&bed.hosts[0], &bed.hosts[1]];
    bed.sh("cp -a /var/lib/muster /srv/kept");
    for (damage, why) in [
        ("sed -i 's/mode/mdoe/' manifest", "checksum is wrong"),
        ("truncate -s -1 manifest", "checksum is wrong"),
        ("truncate -s 20 manifest", "manifest"),
        (": > manifest", "manifest"),
        ("sed -i '1s/1/9/' manifest", "form"),
        ("head -c 4096 /dev/urandom > manifest", "manifest"),
        ("rm manifest && mkdir manifest", "manifest"),
        ("rm manifest && ln -s /etc/passwd manifest", "manifest"),
        ("rm manifest", "the one before it is still there"),
    ] {
        bed.sh(&format!("cd /var/lib/muster && {damage}"));
        assert_held(&bed, host, why);
        bed.sh("rm -rf /var/lib/muster && cp -a /srv/kept /var/lib/muster");
    }
    assert_eq!(
        bed.fleet.sh(other, "cat /srv/b"),
        "1\n",
        "the other host was done"
    );

    // Damaged after the plan was made: refused before anything is done.
    let plan = bed
        .project
        .muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    assert_eq!(plan.code, 0, "{}", said(&plan));
    bed.sh("sed -i 's/mode/mdoe/' /var/lib/muster/manifest");
    let ran = bed
        .project
        .muster(&["apply", "saved.plan.json", "-y", "--no-input"]);
    assert_eq!(ran.code, 6, "{}", said(&ran));
    assert_said(&ran, &[host, "checksum is wrong"]);
    bed.sh("test ! -e /srv/b; rm -rf /var/lib/muster && cp -a /srv/kept /var/lib/muster");
    bed.project.apply();
}

#[test]
fn renamed_host_is_held_until_the_inventory_says_so() {
    let bed = settled(1);
    let host = bed.host();
    let lineage = bed.sh("grep '^lineage' /var/lib/muster/manifest");
    let inventory = bed.project.read("inventories/fleet.toml");
    let renamed = inventory.replace(&format!("[hosts.{host}]"), "[hosts.renamed]");
    // The old name is missing without a word, which is an error of its own.
    bed.project.write("inventories/fleet.toml", &renamed);
    assert_held(&bed, host, "no longer declared in");
    let retired = format!("{renamed}\n[[retired]]\nhost = \"{host}\"\n");
    bed.project.write("inventories/fleet.toml", &retired);
    assert_held(&bed, host, &format!("this machine is `{host}` of fleet `live`"));
    let told = renamed.replace(
        "[hosts.renamed]",
        &format!("[hosts.renamed]\nrenamed_from = \"{host}\""),
    );
    bed.project.write("inventories/fleet.toml", &told);
    bed.project.apply();
    assert_eq!(
        bed.sh("cat /srv/a /srv/b; grep '^host' /var/lib/muster/manifest"),
        "1\n1\nhost renamed\n"
    );
    assert_eq!(bed.sh("grep '^lineage' /var/lib/muster/manifest"), lineage);
    // The line can go, and what muster made under the old name is still muster's.
    bed.project.write("inventories/fleet.toml", &renamed);
    bed.project.module(FILE);
    bed.project.apply();
    bed.sh("test ! -e /srv/b");
}

#[test]
fn other_machine_at_a_known_address_is_refused_by_its_key_and_held_by_its_manifest() {
    let bed = settled(2);
    let [known, other] = [&bed.hosts[0], &bed.hosts[1]];
    let fresh = Bed::new(1);
    let inventory = bed.project.read("inventories/fleet.toml");
    let machine = |bed: &Bed, host: &str| bed.fleet.sh(host, "cat /etc/machine-id");
    assert_ne!(machine(&bed, known), machine(&fresh, fresh.host()));
    let address_of = |bed: &Bed, host: &str| format!("\"{}\"", bed.fleet.address(host));

    // Its address is now that of a machine that muster never saw.
    let moved = inventory.replace(&address_of(&bed, known), &address_of(&fresh, fresh.host()));
    bed.project.write("inventories/fleet.toml", &moved);
    bed.project.module(FILE);
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 4, "{}", said(&ran));
    assert_said(&ran, &[known, "key"]);
    fresh.sh("test ! -e /srv/a && test ! -e /var/lib/muster");

    // Somebody also changed the key, and logs in with the one that the new machine takes.
    let login = |bed: &Bed| bed.fleet.file("key").display().to_string();
    let trusted = moved
        .replace(
            &bed.project.host_key(known),
            &fresh.project.host_key(fresh.host()),
        )
        .replacen(&login(&bed), &login(&fresh), 1);
    bed.project.write("inventories/fleet.toml", &trusted);
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}", said(&ran));
    assert_said(&ran, &[known, "reinstalled or wiped"]);
    fresh.sh("test ! -e /srv/a && test ! -e /var/lib/muster");

    // It is another machine of this fleet.
    let swapped = inventory
        .replace(&address_of(&bed, known), "\"?\"")
        .replace(&address_of(&bed, other), &address_of(&bed, known))
        .replace("\"?\"", &address_of(&bed, other))
        .replace(&bed.project.host_key(known), "?")
        .replace(&bed.project.host_key(other), &bed.project.host_key(known))
        .replace('?', &bed.project.host_key(other));
    bed.project.write("inventories/fleet.toml", &swapped);
    bed.project.module(&format!("{FILE}{OTHER}"));
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}", said(&ran));
    for host in [known, other] {
        assert_said(&ran, &[&format!("this machine is `{host}` of fleet `live`")]);
        bed.fleet.sh(host, "test ! -e /srv/b");
    }

    // A machine that was reinstalled is taken on when somebody says so.
    bed.project.write("inventories/fleet.toml", &trusted);
    let adopted = bed
        .project
        .muster(&["adopt", "--new-lineage", known, "-y", "--no-input"]);
    assert_eq!(adopted.code, 0, "{}", said(&adopted));
    bed.project.apply();
    assert_eq!(fresh.sh("cat /srv/a /srv/b"), "1\n1\n");
}

#[test]
fn host_that_left_the_inventory_without_a_word_is_an_error_and_a_retired_one_is_left_alone() {
    let bed = settled(2);
    let [left, stays] = [&bed.hosts[0], &bed.hosts[1]];
    let inventory = bed.project.read("inventories/fleet.toml");
    let of_left = bed.project.host(left, "");
    let without = inventory.replace(&of_left, "");
    assert_ne!(without, inventory);
    bed.project.write(
        "inventories/fleet.toml",
        &without.replace("canary = 2", "canary = 1"),
    );
    for (verb, code) in [("plan", 1), ("apply", 1), ("drift", 2)] {
        let ran = bed.project.muster(&[verb, "--no-input"]);
        assert_eq!(ran.code, code, "{verb}: {}", said(&ran));
        assert_said(&ran, &[left, "retired"]);
    }
    bed.fleet.sh(stays, "test ! -e /srv/b");
    bed.project
        .extend_inventory(&format!("\n[[retired]]\nhost = \"{left}\"\n"));
    bed.project.apply();
    assert_eq!(bed.fleet.sh(stays, "cat /srv/b"), "1\n");
    assert_eq!(bed.fleet.sh(left, "cat /srv/a; ls /srv"), "1\na\n");
}

#[test]
fn one_machine_under_two_names_is_an_error_before_any_change() {
    let bed = Bed::new(2);
    bed.project.module(FILE);
    let [host, clone] = [&bed.hosts[0], &bed.hosts[1]];
    let twice = bed
        .project
        .host(host, "")
        .replace(&format!("[hosts.{host}]"), "[hosts.twin]");
    let inventory = bed.project.read("inventories/fleet.toml");
    bed.project.extend_inventory(&format!("\n{twice}"));
    for verb in ["plan", "apply", "drift"] {
        let ran = bed.project.muster(&[verb, "--no-input"]);
        assert_eq!(ran.code, 1, "{verb}: {}", said(&ran));
        assert_said(&ran, &[host, "twin", "one machine"]);
    }
    for host in &bed.hosts {
        bed.fleet
            .sh(host, "test ! -e /srv/a && test ! -e /var/lib/muster");
    }

    // A disk that was cloned after muster was there: other addresses, one lineage.
    bed.project.write("inventories/fleet.toml", &inventory);
    bed.project.apply();
    bed.sh("rm -f /srv/state.tar; tar -C /var/lib -cf /srv/state.tar muster");
    let state = bed.sh("base64 -w0 /srv/state.tar");
    bed.fleet.sh(
        clone,
        &format!("rm -rf /var/lib/muster; echo {state} | base64 -d | tar -C /var/lib -xf -"),
    );
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 1, "{}", said(&ran));
    assert_said(&ran, &[host, clone, "one machine", "lineage"]);
}

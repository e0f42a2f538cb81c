//! Every field of every kind: altered by hand on a real host, found, named, mended, and read back by another tool.

use crate::fleet::{Fleet, Project};

/// One field of a resource: how a hand alters it, and how somebody other than muster reads it.
struct Field {
    /// The field, as the kind names it.
    name: &'static str,
    /// A shell script that alters it on the host.
    alter: &'static str,
    /// A shell script that prints it.
    read: &'static str,
    /// What that prints when it is as declared.
    wanted: &'static str,
}

/// One resource of a kind.
struct Case {
    kind: &'static str,
    /// Its tables in the module, and those of what it needs.
    declared: &'static str,
    /// Its key as reports name it.
    key: &'static str,
    fields: &'static [Field],
}

const fn field(name: &'static str, alter: &'static str, read: &'static str, wanted: &'static str) -> Field {
    Field {
        name,
        alter,
        read,
        wanted,
    }
}

const CASES: &[Case] = &[
    Case {
        kind: "file",
        declared: "[[file]]\npath = \"/etc/app.conf\"\ncontent = \"port = 1\\n\"\nowner = \"games\"\ngroup = \"games\"\nmode = \"0640\"\n",
        key: "file[/etc/app.conf]",
        fields: &[
            field(
                "content",
                "echo 'port = 2' > /etc/app.conf",
                "cat /etc/app.conf",
                "port = 1",
            ),
            field(
                "owner",
                "chown root /etc/app.conf",
                "stat -c %U /etc/app.conf",
                "games",
            ),
            field(
                "group",
                "chgrp root /etc/app.conf",
                "stat -c %G /etc/app.conf",
                "games",
            ),
            field(
                "mode",
                "chmod 0666 /etc/app.conf",
                "stat -c %a /etc/app.conf",
                "640",
            ),
            field(
                "type",
                "rm /etc/app.conf && mkdir /etc/app.conf",
                "stat -c %F /etc/app.conf",
                "regular file",
            ),
        ],
    },
    Case {
        kind: "directory",
        declared: "[[directory]]\npath = \"/srv/app\"\nowner = \"games\"\ngroup = \"games\"\nmode = \"0750\"\n",
        key: "directory[/srv/app]",
        fields: &[
            field("owner", "chown root /srv/app", "stat -c %U /srv/app", "games"),
            field("group", "chgrp root /srv/app", "stat -c %G /srv/app", "games"),
            field("mode", "chmod 0777 /srv/app", "stat -c %a /srv/app", "750"),
            field(
                "type",
                "rmdir /srv/app && touch /srv/app",
                "stat -c %F /srv/app",
                "directory",
            ),
        ],
    },
    Case {
        kind: "symlink",
        declared: "[[symlink]]\npath = \"/etc/app.link\"\nto = \"/etc/hostname\"\n",
        key: "symlink[/etc/app.link]",
        fields: &[
            field(
                "to",
                "ln -sfn /etc/passwd /etc/app.link",
                "readlink /etc/app.link",
                "/etc/hostname",
            ),
            field(
                "type",
                "rm /etc/app.link && touch /etc/app.link",
                "stat -c %F /etc/app.link",
                "symbolic link",
            ),
        ],
    },
    Case {
        kind: "group",
        declared: "[[group]]\nname = \"appgroup\"\ngid = 4242\n",
        key: "group[appgroup]",
        fields: &[field(
            "gid",
            "groupmod -g 4343 appgroup",
            "getent group appgroup | cut -d: -f3",
            "4242",
        )],
    },
    Case {
        kind: "account",
        declared: "[[group]]\nname = \"appmain\"\n[[group]]\nname = \"appmore\"\n[[account]]\nname = \"appuser\"\nuid = 4244\ngroup = \"appmain\"\ngroups = [\"appmore\"]\nhome = \"/srv/appuser\"\nshell = \"/bin/sh\"\ncomment = \"An application\"\n",
        key: "account[appuser]",
        fields: &[
            field("uid", "usermod -u 4345 appuser", "id -u appuser", "4244"),
            field("group", "usermod -g games appuser", "id -gn appuser", "appmain"),
            field(
                "groups",
                "usermod -G games appuser",
                "id -Gn appuser",
                "appmain appmore",
            ),
            field(
                "home",
                "usermod -d /tmp appuser",
                "getent passwd appuser | cut -d: -f6",
                "/srv/appuser",
            ),
            field(
                "shell",
                "usermod -s /bin/bash appuser",
                "getent passwd appuser | cut -d: -f7",
                "/bin/sh",
            ),
            field(
                "comment",
                "usermod -c Else appuser",
                "getent passwd appuser | cut -d: -f5",
                "An application",
            ),
        ],
    },
    Case {
        kind: "authorized_keys",
        declared: "[[account]]\nname = \"keyuser\"\nhome = \"/home/keyuser\"\nmake_home = true\nshell = \"/bin/sh\"\n[[authorized_keys]]\nuser = \"keyuser\"\nkeys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0hVu1JXMnbqWqwfRYfRkZ0fCkTDPzmMnGxYdVTJqzV a@b\"]\n",
        key: "authorized_keys[keyuser]",
        fields: &[
            field(
                "keys",
                "echo > /home/keyuser/.ssh/authorized_keys",
                "grep -c 'a@b' /home/keyuser/.ssh/authorized_keys",
                "1",
            ),
            field(
                "mode",
                "chmod 0644 /home/keyuser/.ssh/authorized_keys",
                "stat -c %a /home/keyuser/.ssh/authorized_keys",
                "600",
            ),
            field(
                "group",
                "chgrp games /home/keyuser/.ssh/authorized_keys",
                "stat -c %G /home/keyuser/.ssh/authorized_keys",
                "keyuser",
            ),
            field(
                "owner",
                "chown root /home/keyuser/.ssh/authorized_keys",
                "stat -c %U /home/keyuser/.ssh/authorized_keys",
                "keyuser",
            ),
        ],
    },
    Case {
        kind: "package",
        declared: "[[package]]\nname = \"muster-probe\"\nversion = \"1.0\"\nhold = true\n",
        key: "package[muster-probe]",
        fields: &[
            field(
                "version",
                "apt-mark unhold muster-probe >/dev/null && apt-get install -y -q muster-probe=2.0 >/dev/null && apt-mark hold muster-probe >/dev/null",
                "dpkg-query -W -f '${Version}' muster-probe",
                "1.0",
            ),
            field(
                "hold",
                "apt-mark unhold muster-probe >/dev/null",
                "apt-mark showhold",
                "muster-probe",
            ),
            field(
                "state",
                "apt-mark unhold muster-probe >/dev/null; apt-get remove -y -q muster-probe >/dev/null",
                "dpkg-query -W -f '${db:Status-Status}' muster-probe",
                "installed",
            ),
        ],
    },
    Case {
        kind: "unit",
        declared: "[[unit]]\nname = \"app.service\"\ncontent = \"[Unit]\\nDescription=App\\n[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\"\nenabled = true\nrunning = true\n",
        key: "unit[app.service]",
        fields: &[
            field(
                "content",
                "sed -i s/Description=App/Description=Else/ /etc/systemd/system/app.service && systemctl daemon-reload",
                "systemctl show -P Description app.service",
                "App",
            ),
            field(
                "owner",
                "chown games /etc/systemd/system/app.service",
                "stat -c %U /etc/systemd/system/app.service",
                "root",
            ),
            field(
                "group",
                "chgrp games /etc/systemd/system/app.service",
                "stat -c %G /etc/systemd/system/app.service",
                "root",
            ),
            field(
                "mode",
                "chmod 0600 /etc/systemd/system/app.service",
                "stat -c %a /etc/systemd/system/app.service",
                "644",
            ),
            field(
                "enabled",
                "systemctl disable -q app.service",
                "systemctl is-enabled app.service",
                "enabled",
            ),
            field(
                "running",
                "systemctl stop app.service",
                "systemctl is-active app.service",
                "active",
            ),
        ],
    },
    Case {
        kind: "sysctl",
        declared: "[[sysctl]]\nkey = \"net.ipv4.ip_forward\"\nvalue = \"1\"\n",
        key: "sysctl[net.ipv4.ip_forward]",
        fields: &[
            field(
                "value",
                "sysctl -qw net.ipv4.ip_forward=0",
                "cat /proc/sys/net/ipv4/ip_forward",
                "1",
            ),
            field(
                "file",
                "rm /etc/sysctl.d/60-muster-net.ipv4.ip_forward.conf",
                "grep -c '^net.ipv4.ip_forward *= *1$' /etc/sysctl.d/60-muster-net.ipv4.ip_forward.conf",
                "1",
            ),
        ],
    },
    Case {
        kind: "settings",
        declared: "[[settings]]\npath = \"/etc/app.json\"\nformat = \"json\"\nkeys = { \"log.level\" = \"info\", port = 80 }\n",
        key: "settings[/etc/app.json]",
        fields: &[field(
            "keys",
            "sed -i s/info/debug/ /etc/app.json",
            "grep -c '\"level\": *\"info\"' /etc/app.json",
            "1",
        )],
    },
    Case {
        kind: "command",
        declared: "[[command]]\nname = \"seed\"\nrun = \"echo seeded > /srv/seed\"\nprobe = \"test -s /srv/seed\"\n",
        key: "command[seed]",
        fields: &[field("needed", "rm /srv/seed", "cat /srv/seed", "seeded")],
    },
];

/// Declares a case on one host, applies it, then alters and mends each of its fields.
fn run(fleet: &Fleet, host: &str, case: &Case) {
    let project = Project::new(fleet, &[host]);
    project.module(case.declared);
    project.apply();
    for field in case.fields {
        let before = fleet.sh(host, field.read);
        assert_eq!(
            before.trim(),
            field.wanted,
            "{} `{}` before",
            case.kind,
            field.name
        );
        fleet.sh(host, field.alter);
        let altered = fleet.try_sh(host, field.read);
        assert_ne!(
            String::from_utf8_lossy(&altered.stdout).trim(),
            field.wanted,
            "{} `{}` altered",
            case.kind,
            field.name
        );
        project.assert_drift(&[case.key]);
        project.apply();
        let after = fleet.sh(host, field.read);
        assert_eq!(
            after.trim(),
            field.wanted,
            "{} `{}` mended",
            case.kind,
            field.name
        );
    }
}

/// Makes one test a kind, so that a failure names it; each has a host of its own.
macro_rules! kinds {
    ($($kind:ident),*) => {
        $(#[test]
        fn $kind() {
            let fleet = Fleet::up(1);
            let case = CASES.iter().find(|case| case.kind == stringify!($kind)).expect("the kind has a case");
            run(&fleet, "h1", case);
        })*
        const TESTED: &[&str] = &[$(stringify!($kind)),*];
    };
}

kinds!(
    file,
    directory,
    symlink,
    group,
    account,
    authorized_keys,
    package,
    unit,
    sysctl,
    settings,
    command
);

/// Those of a Docker engine, which tests/live_engine has.
const OF_ENGINES: [&str; 5] = ["image", "network", "volume", "container", "container_run"];

#[test]
fn every_kind_is_tested_here() {
    let kinds = muster::resource::KINDS.iter().map(|kind| kind.name);
    let kinds: Vec<&str> = kinds.filter(|kind| !OF_ENGINES.contains(kind)).collect();
    let missing: Vec<&&str> = kinds.iter().filter(|kind| !TESTED.contains(kind)).collect();
    assert!(missing.is_empty(), "no live case for {missing:?}");
}

#[test]
fn every_field_that_a_hand_can_alter_is_altered() {
    // Told by systemd and by the manifest, not set on their own; the tests of restarts alter them.
    let elsewhere = [("unit", "loaded"), ("unit", "started_with")];
    for info in muster::resource::KINDS
        .iter()
        .filter(|info| !OF_ENGINES.contains(&info.name))
    {
        let case = CASES
            .iter()
            .find(|case| case.kind == info.name)
            .expect("every kind has a case");
        for field in info.fields {
            let altered = case.fields.iter().any(|altered| altered.name == *field);
            assert!(
                altered || elsewhere.contains(&(info.name, field)),
                "{} `{field}` is never altered",
                info.name
            );
        }
    }
}

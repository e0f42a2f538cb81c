//! Accounts and groups of a pretend host, as useradd, usermod and their like leave them on Debian.

use std::collections::BTreeSet;

use crate::model::op::Op;

use super::host::{Host, Kind};

/// One account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its primary group's name.
    pub group: String,
    /// Its further groups.
    pub groups: BTreeSet<String>,
    /// Its home directory's path.
    pub home: String,
    /// Its login shell.
    pub shell: String,
    /// Its comment.
    pub comment: String,
}

impl Host {
    pub(super) fn group(&mut self, name: &str, gid: Option<u32>) {
        let next = free(self.groups.values().copied());
        let there = self.groups.get(name).copied().unwrap_or(next);
        self.groups.insert(name.to_owned(), gid.unwrap_or(there));
    }

    pub(super) fn remove_group(&mut self, name: &str) -> Result<(), String> {
        let user = self.accounts.iter().find(|(_, account)| account.group == name);
        if let (Some((user, _)), true) = (user, self.groups.contains_key(name)) {
            return Err(format!(
                "groupdel: cannot remove the primary group of user '{user}'"
            ));
        }
        self.groups.remove(name);
        self.accounts
            .values_mut()
            .for_each(|account| account.groups.retain(|group| group != name));
        Ok(())
    }

    pub(super) fn account(&mut self, op: &Op) -> Result<(), String> {
        let Op::Account {
            name,
            uid,
            group,
            groups,
            home,
            shell,
            comment,
            system: _,
            make_home,
        } = op
        else {
            return Ok(());
        };
        let wanted = group.iter().chain(groups.iter().flatten());
        if let Some(group) = wanted.into_iter().find(|group| !self.groups.contains_key(*group)) {
            return Err(format!("useradd: group '{group}' does not exist"));
        }
        let next = free(self.accounts.values().map(|account| account.uid));
        if !self.accounts.contains_key(name) && group.is_none() && !self.groups.contains_key(name) {
            self.group(name, None);
        }
        let account = self.accounts.entry(name.clone()).or_insert_with(|| Account {
            uid: next,
            group: name.clone(),
            home: format!("/home/{name}"),
            shell: "/bin/sh".into(),
            ..Account::default()
        });
        account.uid = uid.unwrap_or(account.uid);
        let set = |there: &mut String, new: &Option<String>| new.iter().for_each(|new| new.clone_into(there));
        set(&mut account.group, group);
        set(&mut account.home, home);
        set(&mut account.shell, shell);
        set(&mut account.comment, comment);
        groups.iter().for_each(|groups| account.groups = groups.clone());
        let (home, group) = (account.home.clone(), account.group.clone());
        if *make_home && !self.paths.contains_key(&home) {
            self.put(&home, Kind::Directory, [name, &group, "0755"]);
            // What Debian's /etc/skel has.
            for file in [".bash_logout", ".bashrc", ".profile"] {
                let text = Kind::File(format!("# {file}\n"));
                self.put(&format!("{home}/{file}"), text, [name, &group, "0644"]);
            }
        }
        Ok(())
    }

    pub(super) fn remove_account(&mut self, name: &str, home: bool) {
        let Some(account) = self.accounts.remove(name) else {
            return;
        };
        // The group that useradd made for the account alone goes with it.
        let is_used = self
            .accounts
            .values()
            .any(|other| other.group == name || other.groups.contains(name));
        if account.group == name && !is_used {
            self.groups.remove(name);
        }
        if home {
            let inside = format!("{}/", account.home);
            self.paths
                .retain(|path, _| *path != account.home && !path.starts_with(&inside));
        }
    }

    /// Returns what `Probe::Account` answers.
    pub(super) fn passwd(&self, name: &str) -> String {
        let Some(account) = self.accounts.get(name) else {
            return String::new();
        };
        let Account {
            uid,
            group,
            groups,
            home,
            shell,
            comment,
        } = account;
        let gid = self.groups.get(group).copied().unwrap_or(*uid);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let groups = groups.join(",");
        format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}\n{groups}\n{group}\n")
    }
}

/// Returns the first number from 1000 that is beyond all taken ones.
fn free(taken: impl Iterator<Item = u32>) -> u32 {
    taken
        .filter(|number| (1000..60000).contains(number))
        .max()
        .map_or(1000, |last| last + 1)
}

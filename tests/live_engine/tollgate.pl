# Stands before an engine's socket. A request that a rule names waits there, before it or after the engine has answered,
# until the rule's command has ended. Each rule is for one request.
#
# What changes something is written down in FOLDER/seen.
#
# Rules are lines of FOLDER/rules: NUMBER <tab> WHEN <tab> PATTERN <tab> COMMAND. WHEN is
#   before  the engine has not seen it, and never will if whoever asked is gone by then;
#   late    the engine has not seen it, and will, whoever is gone;
#   after   the engine has answered, and whoever asked has not heard it.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;

my ($front, $engine, $folder) = @ARGV;
$SIG{CHLD} = 'IGNORE';
umask 0117;
my $gate = IO::Socket::UNIX->new(Local => $front, Listen => 64) or die "$front: $!";
while (1) {
    my $client = $gate->accept or next;
    defined(my $child = fork) or die "fork: $!";
    if ($child == 0) {
        $SIG{CHLD} = 'DEFAULT';
        close $gate;
        relay($client);
        exit 0;
    }
    close $client;
}

sub relay {
    my ($client) = @_;
    my $server = IO::Socket::UNIX->new(Peer => $engine) or return;
    my $both = IO::Select->new($client, $server);
    my $after;
    while (my @ready = $both->can_read) {
        for my $from (@ready) {
            if (!sysread($from, my $part, 65536)) {
                # Whoever asked may have said all and still listen.
                return if $from == $server;
                $both->remove($client);
                shutdown $server, 1;
                next;
            } elsif ($from == $server) {
                system 'sh', '-c', $after if defined $after;
                $after = undef;
                send_all($client, $part) or return;
            } else {
                if ($part =~ m{^([A-Z]+ /\S*) HTTP/}) {
                    note($1) unless $1 =~ /^(GET|HEAD) /;
                    my ($when, $command) = rule_for($1);
                    if ($when eq 'after') {
                        $after = $command;
                    } elsif ($when) {
                        system 'sh', '-c', $command;
                        return if $when eq 'before' && is_gone($client);
                    }
                }
                send_all($server, $part) or return;
            }
        }
    }
}

sub rule_for {
    my ($request) = @_;
    open my $rules, '<', "$folder/rules" or return ('', '');
    while (my $line = <$rules>) {
        chomp $line;
        my ($number, $when, $pattern, $command) = split /\t/, $line, 4;
        # The folder tells which rules are used up, and making it is one step for all children.
        return ($when, $command) if $request =~ /$pattern/ && mkdir "$folder/used.$number";
    }
    return ('', '');
}

sub note {
    my ($request) = @_;
    open my $seen, '>>', "$folder/seen" or return;
    syswrite $seen, "$request\n";
}

sub is_gone {
    my ($client) = @_;
    return IO::Select->new($client)->can_read(0) && !sysread($client, my $part, 1);
}

sub send_all {
    my ($to, $part) = @_;
    while (length $part) {
        my $sent = syswrite($to, $part) or return 0;
        substr($part, 0, $sent) = '';
    }
    return 1;
}

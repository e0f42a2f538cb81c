# Stands before an engine's socket and writes down who passes. Each line of the log is one step, in order:
#   open | close            of a channel
#   ask METHOD PATH | done  of a request; done is when its answer was passed on whole
# A request waits a little, so that those that are under way at once are seen so.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;

my ($front, $engine, $log) = @ARGV;
$SIG{CHLD} = 'IGNORE';
umask 0117;
my $gate = IO::Socket::UNIX->new(Local => $front, Listen => 64) or die "$front: $!";
while (1) {
    my $client = $gate->accept or next;
    defined(my $child = fork) or die "fork: $!";
    if ($child == 0) {
        close $gate;
        note('open');
        relay($client);
        note('close');
        exit 0;
    }
    close $client;
}

sub relay {
    my ($client) = @_;
    my $server = IO::Socket::UNIX->new(Peer => $engine) or return;
    my $both = IO::Select->new($client, $server);
    my $answer;
    while (my @ready = $both->can_read) {
        for my $from (@ready) {
            return if !sysread($from, my $part, 65536);
            if ($from == $client) {
                if ($part =~ m{^([A-Z]+ /\S*) HTTP/}) {
                    note("ask $1");
                    $answer = '';
                    select undef, undef, undef, 0.03;
                }
                send_all($server, $part) or return;
            } else {
                if (defined $answer) {
                    $answer .= $part;
                    if (is_whole($answer)) {
                        $answer = undef;
                        note('done');
                    }
                }
                send_all($client, $part) or return;
            }
        }
    }
}

sub is_whole {
    my ($answer) = @_;
    my $end = index $answer, "\r\n\r\n";
    return 0 if $end < 0;
    my $head = substr $answer, 0, $end;
    my $body = substr $answer, $end + 4;
    return length $body >= $1 if $head =~ /^Content-Length: (\d+)/mi;
    return $body =~ /(^|\r\n)0\r\n\r\n$/ if $head =~ /^Transfer-Encoding: chunked/mi;
    return 1;
}

sub note {
    my ($line) = @_;
    open my $file, '>>', $log or return;
    syswrite $file, "$line\n";
}

sub send_all {
    my ($to, $part) = @_;
    while (length $part) {
        my $sent = syswrite($to, $part) or return 0;
        substr($part, 0, $sent) = '';
    }
    return 1;
}

# An engine's socket that is strict about versions of the interface, as engines are, and has nothing on it.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($socket, $engine, $oldest, $newest) = @ARGV;
$SIG{CHLD} = 'IGNORE';
unlink $socket;
umask 0117;
my $gate = IO::Socket::UNIX->new(Local => $socket, Listen => 64) or die "$socket: $!";
while (1) {
    my $client = $gate->accept or next;
    defined(my $child = fork) or die "fork: $!";
    if ($child == 0) {
        serve($client);
        exit 0;
    }
    close $client;
}

sub serve {
    my ($client) = @_;
    local $/ = "\r\n";
    while (defined(my $line = <$client>)) {
        my ($path) = $line =~ m{^GET (/[^ ?]*)\S* HTTP/1\.1} or return;
        while (defined(my $header = <$client>)) { last if $header eq "\r\n" }
        my ($status, $body) = answer($path);
        printf $client "HTTP/1.1 %s\r\nApi-Version: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
            $status, $newest, length $body, $body;
        $client->flush;
    }
}

sub answer {
    my ($path) = @_;
    my $version = qq({"Version":"$engine","ApiVersion":"$newest","MinAPIVersion":"$oldest"});
    return ('200 OK', $version) if $path eq '/version';
    my ($asked, $rest) = $path =~ m{^/v(1\.\d+)(/.*)$};
    # An engine takes its newest where none is said; nobody is to rely on that.
    return said('400 Bad Request', 'no version') unless defined $asked;
    my $minor = sub { (split /\./, $_[0])[1] };
    return said('400 Bad Request', "client version $asked is too new. Maximum supported API version is $newest")
        if $minor->($asked) > $minor->($newest);
    return said('400 Bad Request', "client version $asked is too old. Minimum supported API version is $oldest, please upgrade your client to a newer version")
        if $minor->($asked) < $minor->($oldest);
    return ('200 OK', '[]') if $rest eq '/networks' || $rest eq '/containers/json';
    return ('200 OK', '{"Volumes":[],"Warnings":null}') if $rest eq '/volumes';
    return ('200 OK', '{}') if $rest eq '/info';
    return said('404 Not Found', 'page not found');
}

sub said { my ($status, $message) = @_; return ($status, qq({"message":"$message"})) }

package proxy

import "bytes"

// replicationCommands are the first words of the commands of the streaming
// replication protocol, of PostgreSQL 12 to 18.
var replicationCommands = [...]string{
	"IDENTIFY_SYSTEM", "SHOW", "TIMELINE_HISTORY", "BASE_BACKUP", "UPLOAD_MANIFEST",
	"CREATE_REPLICATION_SLOT", "ALTER_REPLICATION_SLOT", "READ_REPLICATION_SLOT", "DROP_REPLICATION_SLOT",
	"START_REPLICATION",
}

// securePath is the one statement of SQL that libpq's programs send on every
// connection to a database.
const securePath = "SELECT pg_catalog.set_config('search_path', '', false)"

// isReplicationCommand reports whether a query's text is a replication command
// for every server that reads it. On a connection for logical replication the
// server takes SQL as well, and what it takes for what is decided there by the
// first word: a keyword of the replication grammar, in capitals, or not.
//
// The texts that pass begin with such a word, with nothing but blanks before it,
// and have no semicolon before their end. So a server that knows the word reads
// the rest by the replication grammar, which has no SQL in it; and one that does
// not, because it is older or no WAL sender at all, finds a single statement of
// SQL that begins with a word no statement begins with: a syntax error. The
// exception is SHOW, which in SQL shows a parameter, too. A semicolon is the same
// byte in every client encoding, and no byte of another character.
func isReplicationCommand(text []byte) bool {
	text = bytes.Trim(text, " \t\r\n")
	text = bytes.TrimRight(bytes.TrimSuffix(text, []byte{';'}), " \t\r\n")
	if bytes.ContainsAny(text, ";\x00") {
		return false
	}
	if string(text) == securePath {
		return true
	}
	word := text
	if i := bytes.IndexFunc(text, func(c rune) bool { return c != '_' && (c < 'A' || c > 'Z') }); i >= 0 {
		word = text[:i]
		if next := text[i]; next != ' ' && next != '\t' && next != '\r' && next != '\n' && next != '(' {
			return false // part of the word for the server, or nothing that may follow it
		}
	}
	for _, known := range replicationCommands {
		if string(word) == known {
			return true
		}
	}
	return false
}

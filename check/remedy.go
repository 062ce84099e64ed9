package check

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"time"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/upstream"
	"pggateway/upstream/bastion"
	"pggateway/upstream/dial"
	"pggateway/upstream/login"
)

// Remedies for what has to be there before anything is dialled.
const (
	fileRemedy = "The gateway's owner has to provide what the configuration refers to, readable for the user that the gateway runs as: " +
		"an environment variable of the service, or a file (private keys with mode 0600)."
	remoteRemedy = "In the gateway's AWS account: the secret has to be there, in the gateway's region unless its ARN names another, and the gateway's identity " +
		"has to be allowed to read it (secretsmanager:GetSecretValue or ssm:GetParameter, and kms:Decrypt where it has a key of its own)."
	credentialRemedy = "In the gateway's AWS account: give the gateway an identity (an instance, task or pod role, or AWS_* variables of its service) " +
		"and, behind a firewall, the way to the endpoint that hands out its credentials."
	assumeRemedy = " In the account of the role to assume: its trust policy has to name that identity, with the external id of iam.assume_role if it asks for one."
	clockRemedy  = "On the gateway's machine: have the clock set by NTP. IAM tokens bear its time, and databases refuse them when it is off."
)

func aheadOrBehind(d time.Duration) string {
	if d < 0 {
		return "behind AWS's"
	}
	return "ahead of AWS's"
}

// remedy says what to change, and where, after an error on the way.
func (w *walk) remedy(err error) string {
	var name *dial.ResolveError
	var hop *bastion.Error
	var stage *upstream.Error
	switch {
	case errors.As(err, &name):
		return w.unresolved(name.Host)
	case errors.As(err, &hop):
		return w.behindBastion(hop)
	case !errors.As(err, &stage):
		return ""
	}
	switch stage.Stage {
	case upstream.StageDial:
		return w.unreachable(err)
	case upstream.StageTLS:
		return w.insecure(err)
	case upstream.StageLogin:
		return w.refused(err)
	case upstream.StageResolve, upstream.StageSSH, upstream.StageSchema:
	}
	return ""
}

func (w *walk) unresolved(host string) string {
	text := fmt.Sprintf("Check how %s is spelt in the configuration, and that the gateway's machine can look it up (dig %s).", host, host)
	if w.s.managed() && host == w.u.Host {
		return text + " The endpoint's name is on the database's page in the AWS console; a private zone has to be associated with the gateway's VPC, or hostaddr set to the address to dial."
	}
	return text
}

// unreachable is about the first host on the way, straight or a bastion.
func (w *walk) unreachable(err error) string {
	_, port := w.first()
	rules := fmt.Sprintf("inbound TCP %d from %s", port, w.sources())
	where := "the database's firewall"
	switch {
	case w.u.Via.SSH != nil:
		where = "the bastion's firewall or security group"
	case w.s.managed():
		where = "the database's security group"
	}
	switch {
	case strings.Contains(err.Error(), "egress.source_ip"):
		return "In the gateway's configuration: set egress.source_ip to an address of this machine, and egress.public_ips to what destinations see in its place."
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("Something answers there, but nothing listens on port %d: check the port, that the server runs, and (PostgreSQL) listen_addresses; a firewall that rejects looks the same: %s has to allow %s.", port, where, rules)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "There is no route: check the gateway's routes to that network (VPC peering, transit gateway, NAT), and that the address family is one that it has."
	}
	text := fmt.Sprintf("In %s: allow %s.", where, rules)
	if w.s.managed() {
		text += fmt.Sprintf(" In the network ACLs of its subnets: allow inbound TCP %d and outbound TCP 1024-65535 for the same address. Behind an NLB: its target has to be healthy. "+
			"An address that is private cannot be reached from outside its VPC: use a bastion (via.ssh) or PrivateLink.", port)
	}
	return text + " 'gateway egress " + w.u.Name + "' prints the rules."
}

// sources are the addresses that destinations see, as rules have them.
func (w *walk) sources() string {
	var all []string
	for _, a := range w.expected() {
		all = append(all, netip.PrefixFrom(a, a.BitLen()).String())
	}
	if len(all) == 0 {
		return "the gateway's address (set egress.public_ips)"
	}
	return strings.Join(all, ", ")
}

func (w *walk) expected() []netip.Addr {
	switch e := w.conf.Egress; {
	case len(e.PublicIPs) > 0:
		return e.PublicIPs
	case e.SourceIP.IsValid():
		return []netip.Addr{e.SourceIP}
	}
	return nil
}

func (w *walk) behindBastion(e *bastion.Error) string {
	to := hostPort(w.s.dialled(), w.u.Port)
	switch e.Kind {
	case bastion.Unreachable, bastion.Unanswered:
		if strings.Contains(e.Error(), "SSH handshake") {
			return "What listens there does not finish an SSH handshake: check via.ssh.host and port, and the load of the bastion (MaxStartups)."
		}
		return w.unreachable(e)
	case bastion.HostKey:
		return "Ask the bastion's owner, not over this connection, whether its host key was changed ('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' there prints it); " +
			"only if so, put the new one into via.ssh.host_keys. If not, somebody else answers in its place."
	case bastion.Identity:
		return "In the gateway's configuration: ssh.identity, or via.ssh.identity, has to be a private key that can be read ('gateway keygen' makes one)."
	case bastion.Unauthorized:
		return fmt.Sprintf("On the bastion: add the gateway's key to authorized_keys of the user %s ('gateway egress %s' prints the line, 'gateway pubkey' the key), "+
			"check the user's name in via.ssh.user, and that sshd_config allows it to log in (AllowUsers, PubkeyAuthentication).", userOf(e.Bastion), w.u.Name)
	case bastion.Prohibited:
		return fmt.Sprintf("On the bastion: sshd_config needs AllowTcpForwarding yes and a PermitOpen that has %s (or any); in authorized_keys, restrict needs port-forwarding, and permitopen has to be %q.", to, to)
	case bastion.Destination:
		where := "the database's firewall has to allow"
		if w.s.managed() {
			where = "the database's security group has to allow the bastion's security group"
		}
		return fmt.Sprintf("The bastion could not connect to %s: try 'nc -vz %s %d' on it. Its DNS has to know the name, and %s TCP %d from it.", to, w.s.dialled(), w.u.Port, where, w.u.Port)
	case bastion.Handshake, bastion.Lost, bastion.Closed:
	}
	return "Look into the bastion's log (journalctl -u ssh): it ended the connection. OpenSSH turns addresses away for a while that failed to log in often (PerSourcePenalties), and when many come at once (MaxStartups)."
}

func userOf(bastion string) string {
	user, _, _ := strings.Cut(bastion, "@")
	return user
}

func (w *walk) insecure(err error) string {
	var invalid x509.CertificateInvalidError
	switch text := err.Error(); {
	case errors.Is(err, upstream.ErrNoTLS):
		return "On the database: turn ssl on, with a certificate. Only where the network in between is trusted, set tls.mode to disable."
	case errors.As(err, new(x509.HostnameError)):
		if w.s.managed() {
			return "In the configuration: host has to be the database's own endpoint, as AWS shows it, not an alias, a CNAME or an address; put what is to be dialled into hostaddr."
		}
		return "In the configuration: host (or tls.server_name) has to be one of the names in the certificate; put what is to be dialled into hostaddr. Or the database gets a certificate with this name."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("The database's owner has to renew its certificate. (The gateway's clock says %s.)", w.deps.Now().UTC().Format(time.RFC3339))
	case errors.As(err, new(x509.UnknownAuthorityError)):
		if w.u.TLS.CA == config.CARDS {
			return "The certificate is not from the authorities of RDS: is host really the database's endpoint? A database that is not RDS or Aurora has the kind postgres, and its own tls.ca."
		}
		return "In the configuration: set tls.ca to the root that the server's certificate comes from (file:PATH, from the database's owner), rds for RDS and Aurora, system for public authorities."
	case strings.Contains(text, "the server closed the connection"):
		return "Something takes connections there and closes them: an NLB without a healthy target, a proxy, or a server that is not PostgreSQL. Check host and port."
	case strings.Contains(text, "tls.cert"):
		return "On the database: the record in pg_hba.conf has to ask for a certificate (method cert, or clientcert=verify-full), and ssl_ca_file has to be set."
	case strings.Contains(text, "the server refused TLS"):
		return "The server wants another TLS version (the gateway speaks 1.2 and 1.3), other ciphers, or a client certificate (tls.cert and tls.key)."
	case strings.Contains(text, "not TLS"):
		return "What listens there is not PostgreSQL: check host and port."
	}
	return "Check that host and port are the database's, and that nothing in between ends TLS."
}

// seenAs finds the address that the server names in an error of pg_hba.conf.
var seenAs = regexp.MustCompile(`(?:from )?host "([^"]+)"`)

// refused is about the login.
func (w *walk) refused(err error) string {
	var server *login.ServerError
	var own *login.RefusedError
	switch {
	case errors.As(err, &own):
		return "See login and tls.mode in the configuration (docs/upstreams.md, \"What a server may ask for\"): the gateway gave nothing away."
	case !errors.As(err, &server):
		return "The server, or something in front of it, ended or held up the login: look into the server's log. IAM may take seconds; an NLB or proxy without a healthy target closes at once."
	}
	f := &server.Fields
	role, database := upstream.QuoteIdentifier(w.Role), upstream.QuoteIdentifier(w.database)
	switch message := f.Message; {
	case strings.Contains(message, "pg_hba.conf"):
		return w.rejected(message)
	case strings.Contains(message, "PAM authentication failed"):
		return w.tokenRefused()
	case f.Code == "08006" && strings.Contains(message, "access denied"):
		return w.clusterRefused(f.Hint)
	case strings.Contains(message, "sni was not received"):
		return "Something in between takes the TLS server name away: DSQL finds its clusters by it."
	case strings.Contains(message, "waking up cluster"):
		return "The cluster was idle: try again in a minute."
	case f.Code == "53400":
		return "The cluster takes 100 new connections a second: lower pool.new_per_second of the gateways that use it."
	case f.Code == sqlstate.InvalidPassword:
		return fmt.Sprintf("The password in %s is not the role's: put the right one there, or, in the database, ALTER ROLE %s PASSWORD '…'.", w.s.Login.Password, role) + w.managedPassword()
	case strings.Contains(message, "does not exist") && f.Code != sqlstate.InvalidCatalogName:
		return fmt.Sprintf("In the database: CREATE ROLE %s LOGIN. Names count letter by letter.", role)
	case strings.Contains(message, "is not permitted to log in"):
		return fmt.Sprintf("In the database: ALTER ROLE %s LOGIN.", role)
	case f.Code == sqlstate.InvalidCatalogName:
		return fmt.Sprintf("In the configuration: database has to name one that exists; or on the server, CREATE DATABASE %s.", database)
	case f.Code == sqlstate.InsufficientPrivilege && aboutDatabase(err):
		return fmt.Sprintf("In the database: GRANT CONNECT ON DATABASE %s TO %s.", database, role)
	case f.Code == sqlstate.TooManyConnections:
		return "The database has no connection left for this role: lower pool.size here or the number of other clients, or raise max_connections (or the role's CONNECTION LIMIT) there."
	case f.Code == sqlstate.CannotConnectNow:
		return "The server is starting up, shutting down or recovering: try again in a minute."
	case strings.Contains(message, "certificate"):
		return "On the database: ssl_ca_file has to have the authority of tls.cert, and the certificate's common name has to be the role (or be mapped to it in pg_ident.conf)."
	}
	return "The server's own words say why; its log says more."
}

func (w *walk) managedPassword() string {
	if !w.s.managed() {
		return ""
	}
	return " With rds.accepted_password_auth_method=scram, a role whose password was stored as md5 has to be given it anew."
}

// rejected is about pg_hba.conf, whose message names the address that the server
// sees: often what is amiss is that.
func (w *walk) rejected(message string) string {
	seen := "the gateway"
	if m := seenAs.FindStringSubmatch(message); m != nil {
		seen = m[1]
	}
	plain := strings.Contains(message, "no encryption") || strings.Contains(message, "SSL off")
	switch {
	case w.s.managed() && plain:
		return "The database takes encrypted connections only (rds.force_ssl), or the role may only log in with IAM: set tls.mode to verify-full."
	case w.s.managed():
		return fmt.Sprintf("The database does not let %s in as %s: a role with rds_iam needs login.iam, and a replication connection the role rds_replication.", seen, w.Role)
	}
	text := fmt.Sprintf("On the database: pg_hba.conf needs a record for %s coming from %s ('gateway egress %s' prints it), then SELECT pg_reload_conf().", w.Role, seen, w.u.Name)
	if plain {
		text += " It may have one for encrypted connections only (hostssl): then set tls.mode to verify-full."
	}
	return text
}

// tokenRefused: RDS says the same whatever is wrong with a token (aws: "IAM database
// authentication", the log iam-db-auth-error).
func (w *walk) tokenRefused() string {
	if w.s.Login.IAM == nil {
		return fmt.Sprintf("The role %s has rds_iam, and so can only log in with IAM: set login.iam, or in the database REVOKE rds_iam FROM %[1]s.", upstream.QuoteIdentifier(w.Role))
	}
	if w.ahead() != 0 {
		return clockRemedy
	}
	return fmt.Sprintf("RDS gives this one answer whatever is wrong with the token, and writes the reason to the log iam-db-auth-error in CloudWatch. Check, in this order: "+
		"the database has IAM authentication turned on; in it, GRANT rds_iam TO %s (letter by letter); the gateway's AWS policy (and its permissions boundary) allows rds-db:connect on dbuser:<resource id>/%s, "+
		"the id being db-… or cluster-…, not the name; iam.region is the database's; host is the endpoint itself, not a CNAME or a custom endpoint (the token is signed for %s); the gateway's clock is right (it says %s; 15 minutes are allowed); "+
		"and fewer than 200 logins a second arrive, beyond which IAM throttles.",
		upstream.QuoteIdentifier(w.Role), w.Role, hostPort(w.u.Host, w.u.Port), w.deps.Now().UTC().Format(time.RFC3339))
}

// clusterRefused is the same for DSQL, whose hint says what it was.
func (w *walk) clusterRefused(hint string) string {
	switch {
	case strings.Contains(hint, "Signature expired"):
		return fmt.Sprintf("The gateway's clock is wrong: it says %s.", w.deps.Now().UTC().Format(time.RFC3339))
	case strings.Contains(hint, "user to action"):
		return "In the gateway's AWS policy: the user admin needs dsql:DbConnectAdmin, any other dsql:DbConnect."
	}
	return fmt.Sprintf("In the gateway's AWS policy: allow dsql:DbConnect (admin: dsql:DbConnectAdmin) on the cluster. In the cluster: AWS IAM GRANT %s TO '<the gateway's role ARN>'.", upstream.QuoteIdentifier(w.Role))
}

// aboutDatabase reports whether a login failed only because of the database it was to.
func aboutDatabase(err error) bool {
	var server *login.ServerError
	if !errors.As(err, &server) {
		return false
	}
	f := &server.Fields
	return f.Code == sqlstate.InvalidCatalogName || f.Code == sqlstate.InsufficientPrivilege && strings.Contains(f.Message, "database") ||
		strings.Contains(f.Message, "pg_hba.conf")
}

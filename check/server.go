package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pggateway/config"
	"pggateway/upstream"
)

// ask asks the server, over a connection that is logged in.
func (w *walk) ask(ctx context.Context, c *upstream.Conn) {
	asked := map[Step]func(context.Context, *upstream.Conn){
		Version: w.version, Writable: w.writable, Create: w.privileges, Temporary: func(context.Context, *upstream.Conn) {},
		Schema: w.schema, Superuser: w.superuser, Replication: w.replication, IAMRole: w.iamRole, SeenFrom: w.seenFrom,
	}
	for _, step := range w.questions() {
		asked[step](ctx, c)
	}
}

// row asks for one row of that many columns. Where the server does not answer, step
// is one that could not be looked at, and nil is returned.
func (w *walk) row(ctx context.Context, c *upstream.Conn, step Step, columns int, sql string, args ...string) []string {
	rows, err := c.Query(ctx, sql, args...)
	switch {
	case err != nil:
		w.warn(step, "", "could not be looked at: %v", err)
		return nil
	case len(rows) != 1 || len(rows[0]) != columns:
		w.warn(step, "", "could not be looked at: the server's answer has another form")
		return nil
	}
	return rows[0]
}

// Versions that are supported, and that mostly work.
const (
	fullVersion = 13
	bestEffort  = 12
)

func (w *walk) version(ctx context.Context, c *upstream.Conn) {
	row := w.row(ctx, c, Version, 2, "select pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version')")
	if row == nil {
		return
	}
	n, _ := strconv.Atoi(row[0])
	const upgrade = "On the database: upgrade to PostgreSQL 13 or later."
	switch major := n / 10000; {
	case major >= fullVersion:
		w.ok(Version, "PostgreSQL %s", row[1])
	case major == bestEffort:
		w.warn(Version, upgrade, "PostgreSQL %s: most things work, none is promised", row[1])
	default:
		w.fail(Version, upgrade, "PostgreSQL %s is too old", row[1])
	}
}

func (w *walk) writable(ctx context.Context, c *upstream.Conn) {
	row := w.row(ctx, c, Writable, 3, "select pg_catalog.pg_is_in_recovery(), setting, source from pg_catalog.pg_settings where name operator(pg_catalog.=) 'default_transaction_read_only'")
	if row == nil {
		return
	}
	switch recovering, readOnly := row[0] == "t", row[1] == "on"; {
	case recovering && strings.Contains(w.u.Host, ".cluster-ro-"):
		w.fail(Writable, "In the configuration: "+w.u.Host+" is the cluster's reader endpoint; the writer's has .cluster- in place of .cluster-ro-.", "the server is a replica")
	case recovering:
		w.fail(Writable, "In the configuration: host has to be the primary (of an Aurora cluster: the writer endpoint). If this one is to become it, promote it.", "the server is a replica")
	case readOnly:
		w.fail(Writable, readOnlyRemedy(row[2], w.Role, w.database), "default_transaction_read_only is on (%s): nothing can be written", row[2])
	case strings.Contains(w.u.Host, ".cluster-ro-"):
		w.warn(Writable, "In the configuration: use the writer endpoint, which has .cluster- in place of .cluster-ro-.", "the reader endpoint leads to the writer now, which lasts until the cluster has a replica")
	default:
		w.ok(Writable, "not a replica, and not read-only")
	}
}

// readOnlyRemedy depends on where the setting comes from (pg_settings.source).
func readOnlyRemedy(source, role, database string) string {
	role, database = upstream.QuoteIdentifier(role), upstream.QuoteIdentifier(database)
	const end = " RESET default_transaction_read_only."
	switch source {
	case "user":
		return "In the database: ALTER ROLE " + role + end
	case "database":
		return "In the database: ALTER DATABASE " + database + end
	case "database user":
		return "In the database: ALTER ROLE " + role + " IN DATABASE " + database + end
	}
	return "On the database: set default_transaction_read_only to off (postgresql.conf, or the parameter group)."
}

// privileges is about those on the database.
func (w *walk) privileges(ctx context.Context, c *upstream.Conn) {
	row := w.row(ctx, c, Create, 2, "select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),"+
		" pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')")
	if row == nil {
		w.skip(Temporary)
		return
	}
	own := w.u.Schema != nil // who has a schema may do without
	if own {
		rows, err := c.Query(ctx, findSchema, w.u.Schema.Name)
		own = err == nil && len(rows) == 1
	}
	w.privilege(Create, "CREATE", row[0] == "t", w.s.creates && !own)
	w.privilege(Temporary, "TEMPORARY", row[1] == "t", w.s.temporary && w.u.Kind != config.KindDSQL)
}

func (w *walk) privilege(step Step, name string, has, needed bool) {
	grant := fmt.Sprintf("In the database: GRANT %s ON DATABASE %s TO %s.", name, upstream.QuoteIdentifier(w.database), upstream.QuoteIdentifier(w.Role))
	switch {
	case has:
		w.ok(step, "the role has %s on the database", name)
	case needed && step == Create:
		w.fail(step, grant+" Or create a schema for it and name that in schema.name.", "the role has no CREATE on the database, so that it cannot create schemas")
	case needed:
		w.fail(step, grant, "the role has no %s on the database, so that it cannot create temporary tables", name)
	default:
		w.ok(step, "the role has no %s on the database, and does not need it", name)
	}
}

const findSchema = "select pg_catalog.has_schema_privilege(oid, 'USAGE'), pg_catalog.has_schema_privilege(oid, 'CREATE')" +
	" from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1"

func (w *walk) schema(ctx context.Context, c *upstream.Conn) {
	name, role := upstream.QuoteIdentifier(w.u.Schema.Name), upstream.QuoteIdentifier(w.Role)
	rows, err := c.Query(ctx, findSchema, w.u.Schema.Name)
	var missing []string
	for i, p := range []string{"USAGE", "CREATE"} {
		if len(rows) == 1 && len(rows[0]) == 2 && rows[0][i] != "t" {
			missing = append(missing, p)
		}
	}
	create := slices.ContainsFunc(w.Lines, func(l Line) bool { return l.Step == Create && strings.HasPrefix(l.Text, "the role has CREATE") })
	switch {
	case err != nil:
		w.warn(Schema, "", "could not be looked at: %v", err)
	case len(rows) == 0 && w.u.Schema.Create && create:
		w.ok(Schema, "%s does not exist, and is created on first use", name)
	case len(rows) == 0 && w.u.Schema.Create:
		w.fail(Schema, fmt.Sprintf("In the database: CREATE SCHEMA %s AUTHORIZATION %s.", name, role), "%s does not exist, and the role may not create it", name)
	case len(rows) == 0:
		w.fail(Schema, fmt.Sprintf("In the database: CREATE SCHEMA %s AUTHORIZATION %s; or set schema.create in the configuration.", name, role), "%s does not exist", name)
	case len(missing) > 0:
		list := strings.Join(missing, ", ")
		w.fail(Schema, fmt.Sprintf("In the database: GRANT %s ON SCHEMA %s TO %s.", list, name, role), "the role has no %s on %s", list, name)
	default:
		w.ok(Schema, "%s is there, and the role may use it and create in it", name)
	}
}

// membership lists those of the roles of RDS that our own is a member of.
func (w *walk) membership(ctx context.Context, c *upstream.Conn, step Step) (of []string, ok bool) {
	rows, err := c.Query(ctx, "select rolname from pg_catalog.pg_roles where rolname operator(pg_catalog.=) any ('{rds_superuser,rds_iam,rds_replication}'::pg_catalog.name[])"+
		" and pg_catalog.pg_has_role(oid, 'member')")
	if err != nil {
		w.warn(step, "", "could not be looked at: %v", err)
		return nil, false
	}
	for _, r := range rows {
		of = append(of, r[0])
	}
	return of, true
}

func (w *walk) superuser(ctx context.Context, c *upstream.Conn) {
	role := upstream.QuoteIdentifier(w.Role)
	row := w.row(ctx, c, Superuser, 3, "select rolsuper, rolcreaterole, rolbypassrls from pg_catalog.pg_roles where rolname operator(pg_catalog.=) current_user")
	if row == nil {
		return
	}
	of, ok := w.membership(ctx, c, Superuser)
	if !ok {
		return
	}
	var more []string
	for i, name := range []string{"CREATEROLE", "BYPASSRLS"} {
		if row[i+1] == "t" {
			more = append(more, name)
		}
	}
	own := fmt.Sprintf("In the database: make a role that can do what its writers need and no more, and log in as that; or ALTER ROLE %s ", role)
	switch {
	case row[0] == "t":
		w.fail(Superuser, own+"NOSUPERUSER.", "the role is a superuser: whoever gets at it has the whole server")
	case slices.Contains(of, "rds_superuser"):
		w.warn(Superuser, fmt.Sprintf("In the database: make a role that can do what its writers need and no more, and log in as that; or REVOKE rds_superuser FROM %s.", role), "the role is a member of rds_superuser")
	case len(more) > 0:
		w.warn(Superuser, own+"NO"+strings.Join(more, " NO")+".", "the role is no superuser, but has %s", strings.Join(more, " and "))
	default:
		w.ok(Superuser, "the role is no superuser")
	}
}

// replication opens a connection as a writer's would be, which takes the role, the
// server's settings and pg_hba.conf. It asks it for nothing.
func (w *walk) replication(ctx context.Context, c *upstream.Conn) {
	level := w.row(ctx, c, Replication, 1, "select pg_catalog.current_setting('wal_level')")
	if level == nil {
		return
	}
	r, err := w.target.OpenReplication(ctx, "database", nil)
	if err != nil {
		remedy := w.remedy(err)
		if role := upstream.QuoteIdentifier(w.Role); strings.Contains(err.Error(), "superuser or replication role") || strings.Contains(err.Error(), "permission denied to start WAL sender") {
			remedy = "In the database: ALTER ROLE " + role + " REPLICATION."
			if w.s.managed() {
				remedy = "In the database: GRANT rds_replication TO " + role + "."
			}
		}
		w.fail(Replication, remedy, "no replication connection: %v", within(err))
		return
	}
	r.End()
	if level[0] == "logical" {
		w.ok(Replication, "a replication connection opens, and wal_level is logical")
		return
	}
	remedy := "On the database: set wal_level to logical, and restart."
	if w.s.managed() {
		remedy = "In the database's parameter group: set rds.logical_replication to 1, and reboot."
	}
	w.warn(Replication, remedy, "a replication connection opens, but wal_level is %s: there is no logical replication", level[0])
}

// iamRole: a role with rds_iam logs in with IAM only; for replication connections
// that depends on a parameter (User Guide, "IAM authentication for replication").
func (w *walk) iamRole(ctx context.Context, c *upstream.Conn) {
	of, ok := w.membership(ctx, c, IAMRole)
	if !ok {
		return
	}
	role := upstream.QuoteIdentifier(w.Role)
	iam := slices.Contains(of, "rds_iam")
	switch {
	case w.s.Login.IAM == nil && !iam:
		w.ok(IAMRole, "the role logs in with a password, and has no rds_iam")
		return
	case w.s.Login.IAM == nil:
		w.warn(IAMRole, fmt.Sprintf("Set login.iam, or in the database REVOKE rds_iam FROM %s.", role), "the role has rds_iam, which is for IAM logins, and logs in with a password")
		return
	case !iam:
		w.warn(IAMRole, fmt.Sprintf("In the database: GRANT rds_iam TO %s.", role), "the server took the token, but does not show that the role has rds_iam")
		return
	case !w.s.replicates:
		w.ok(IAMRole, "the role has rds_iam")
		return
	}
	row := w.row(ctx, c, IAMRole, 1, "select coalesce(pg_catalog.current_setting('rds.iam_auth_for_replication', true), '')")
	switch {
	case row == nil:
	case row[0] == "1" || row[0] == "on":
		w.ok(IAMRole, "the role has rds_iam, and replication connections take IAM")
	default:
		w.fail(IAMRole, "In the database's parameter group: set rds.iam_auth_for_replication to 1 (no reboot).", "a writer replicates, and replication connections of this role do not take IAM")
	}
}

func (w *walk) seenFrom(ctx context.Context, c *upstream.Conn) {
	row := w.row(ctx, c, SeenFrom, 1, "select coalesce(pg_catalog.host(pg_catalog.inet_client_addr()), '')")
	if row == nil {
		return
	}
	seen, err := netip.ParseAddr(row[0])
	seen = seen.Unmap()
	expected := w.expected()
	switch {
	case err != nil:
		w.ok(SeenFrom, "the server does not say which address it sees")
	case w.u.Via.SSH != nil:
		w.ok(SeenFrom, "the database sees the bastion: %s", seen)
	case slices.Contains(expected, seen):
		w.ok(SeenFrom, "the database sees %s", seen)
	case len(expected) == 0:
		w.warn(SeenFrom, fmt.Sprintf("In the configuration: set egress.public_ips: [%s], so that owners can be told.", seen), "the database sees %s, and no address is configured to come from", seen)
	case seen.IsPrivate():
		w.warn(SeenFrom, fmt.Sprintf("Behind an NLB, a VPC endpoint or a peering that is as it should be: its owner allows %s then. Otherwise set egress.source_ip or egress.public_ips right.", seen),
			"the database sees %s, which is not among the configured addresses (%s)", seen, w.sources())
	default:
		w.warn(SeenFrom, "An owner who allows the configured address only would keep the gateway out: bring egress.source_ip and the NAT in order, or add "+seen.String()+" to egress.public_ips.",
			"the database sees %s, which is not among the configured addresses (%s)", seen, w.sources())
	}
}

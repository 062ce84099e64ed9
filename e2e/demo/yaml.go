package main

import (
	"strings"
	"text/template"

	"pggateway/e2e/kit"
)

var gatewayYAML = template.Must(template.New("gateway.yaml").Parse(`# One gateway, one writer, three databases that the writer cannot reach.

listen:
  - address: 127.0.0.1:{{.Port}}
    tls: {mode: allow, cert: "file:{{.Dir}}/gateway.crt", key: "file:{{.Dir}}/gateway.key"}

egress:
  source_ip: {{.Egress}}       # every connection of the gateway comes from here
  public_ips: [{{.Egress}}]    # and this is what the databases' owners allow

ssh:
  identity: file:{{.Dir}}/id_ed25519    # made by: gateway keygen

upstreams:
  # 1. Straight: a PostgreSQL whose pg_hba.conf allows one address, over TLS.
  orders:
    kind: postgres
    host: {{.OrdersHost}}      # the name in the certificate
    hostaddr: 127.0.0.1              # where it is dialled
    port: {{.Orders}}
    tls: {mode: verify-full, ca: "file:{{.Dir}}/roots.pem"}
    login: {user: {{.Role}}, password: env:ORDERS_PW}

  # 2. Through a bastion: this database takes connections from the bastion alone.
  billing:
    kind: postgres
    host: {{.BillingHost}}
    hostaddr: 127.0.0.1              # as seen from the bastion
    port: {{.Billing}}
    tls: {mode: verify-full, ca: "file:{{.Dir}}/roots.pem"}
    login: {user: {{.Role}}, password: "file:{{.Dir}}/billing.pw"}
    via:
      ssh:
        host: 127.0.0.1
        port: {{.Bastion}}
        user: {{.BastionUser}}
        host_keys: ["{{.BastionKey}}"]

  # 3. IAM: no password anywhere, but a token signed for the real endpoint's name.
  events:
    kind: rds
    host: {{.EventsHost}}
    hostaddr: 127.0.0.1
    port: {{.Events}}
    tls: {mode: verify-full, ca: "file:{{.Dir}}/roots.pem"}    # for a real one: rds, the default
    login: {user: {{.Role}}, iam: {region: {{.Region}}}}

writers:
  {{.Writer}}:
    # The verifier of a password, made by: gateway passwd
    password: {{.Verifier}}
    from: [127.0.0.0/8]
    upstreams:
      orders: {grants: ALL}          # what the role may do there is all that confines it
      billing: {grants: ALL}
      events: {grants: ALL}
`))

// yaml is the gateway's configuration for these parts.
func (p *parts) yaml(t kit.T, verifier string) string {
	var b strings.Builder
	err := gatewayYAML.Execute(&b, map[string]any{
		"Port": kit.FreePort(t), "Dir": p.dir, "Egress": gatewayAddress, "Role": upstreamRole,
		"OrdersHost": ordersHost, "Orders": p.orders.Port,
		"BillingHost": billingHost, "Billing": p.billing.Port,
		"Bastion": p.bastion.Port, "BastionUser": p.bastion.User, "BastionKey": p.bastion.HostKey.Public,
		"EventsHost": eventsHost, "Events": p.rds.Port(), "Region": region,
		"Writer": writerName, "Verifier": verifier,
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b.String()
}

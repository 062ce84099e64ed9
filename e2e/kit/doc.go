// Package kit runs the real parts that tests and the demo need: PostgreSQL,
// sshd, certificates, a stand-in for RDS with IAM logins, the gateway's own
// binary, and servers that misbehave on purpose.
//
// Every part listens on a free loopback port, lives in its own directory under
// the system's temporary directory, may run beside any number of others, and is
// ended and removed by the Cleanup of the T that started it. Parts die with the
// process that started them (PR_SET_PDEATHSIG), so a killed test run leaves no
// servers behind. Run as root, PostgreSQL runs as the user "postgres" (or
// "nobody"), because it refuses root.
//
// The kit knows nothing of the gateway's packages: it checks the product from
// outside, with its own reading of the protocols. The product never imports it.
package kit

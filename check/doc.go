// Package check walks the way to an upstream as the gateway does, and says of
// each step whether it is as it should be, and, where it is not, what to change
// and where, in the words of who owns the place: the gateway, the bastion, the
// network, the AWS account or the database.
//
// It changes nothing: it logs in, asks, and leaves. It opens connections of its
// own and must not know the proxy, so that it works without a running gateway.
package check

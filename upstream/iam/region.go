package iam

import (
	"regexp"
	"strings"
)

// endpoint is the name of an RDS or Aurora instance, cluster or proxy
// (<name>.[cluster-|…]<id>.<region>.rds.amazonaws.com, and the names of China and
// the isolated partitions).
var endpoint = regexp.MustCompile(`^(?:[^.]+\.)+[a-z0-9-]+\.([a-z]{2,5}(?:-[a-z]+)+-[0-9]+)\.(?:rds|rds-fips)\.amazonaws\.(?:com|eu|au|uk)$`)

// endpointChina has the region behind "rds".
var endpointChina = regexp.MustCompile(`^(?:[^.]+\.)+[a-z0-9-]+\.rds\.([a-z]{2,5}(?:-[a-z]+)+-[0-9]+)\.amazonaws\.com\.cn$`)

// RegionOf is the region that an RDS or Aurora endpoint's name tells. A global
// cluster's name (….global.rds.amazonaws.com) and a name of one's own tell none.
func RegionOf(host string) (string, bool) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, re := range []*regexp.Regexp{endpoint, endpointChina} {
		if m := re.FindStringSubmatch(host); m != nil {
			return m[1], true
		}
	}
	return "", false
}

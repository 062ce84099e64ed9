package iam

import "testing"

func TestRegionOf(t *testing.T) {
	tests := map[string]string{
		"db.c9akciq32.us-east-1.rds.amazonaws.com":                       "us-east-1",
		"DB.C9akciq32.EU-West-1.RDS.amazonaws.com.":                      "eu-west-1",
		"acme.cluster-c9akciq32.ap-southeast-2.rds.amazonaws.com":        "ap-southeast-2",
		"acme.cluster-ro-c9akciq32.us-gov-west-1.rds.amazonaws.com":      "us-gov-west-1",
		"acme.cluster-custom-c9akciq32.us-east-1.rds-fips.amazonaws.com": "us-east-1",
		"pool.proxy-c9akciq32.me-central-1.rds.amazonaws.com":            "me-central-1",
		"pool.endpoint.proxy-c9akciq32.us-west-2.rds.amazonaws.com":      "us-west-2",
		"acme.shardgrp-c9akciq32.us-east-1.rds.amazonaws.com":            "us-east-1",
		"db.c9akciq32.rds.cn-north-1.amazonaws.com.cn":                   "cn-north-1",
		"db.c9akciq32.eusc-de-east-1.rds.amazonaws.eu":                   "eusc-de-east-1",
		"acme.global-c9akciq32.global.rds.amazonaws.com":                 "",
		"us-east-1.rds.amazonaws.com":                                    "",
		"rds.us-east-1.amazonaws.com":                                    "",
		"db.example.com":                                                 "",
		"db.c9akciq32.us-east-1.rds.amazonaws.com.evil.example":          "",
		"10.0.0.7": "",
		"":         "",
	}
	for host, want := range tests {
		if got, ok := RegionOf(host); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, not %q", host, got, ok, want)
		}
	}
}

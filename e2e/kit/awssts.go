package kit

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What the metadata services ask for, and the web identity that STS trusts.
const (
	ContainerToken   = "the container's authorization"
	WebIdentityToken = "the.web.identity"
	metadataToken    = "the instance's token"
	instanceRole     = "instance-role"
)

// sts serves the Security Token Service (AWS query protocol).
func (a *AWS) sts(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	action := form.Get("Action")
	w.Header().Set("Content-Type", "text/xml")
	key, err := a.assume(r, body, action, form)
	if err != nil {
		code, message, _ := strings.Cut(err.Error(), ": ")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
			escape(code), escape(message))
		return
	}
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><AssumedRoleUser><AssumedRoleId>AROATEST:s</AssumedRoleId><Arn>%[2]s</Arn></AssumedRoleUser>`+
		`<Credentials><AccessKeyId>%[3]s</AccessKeyId><SecretAccessKey>%[4]s</SecretAccessKey><SessionToken>%[5]s</SessionToken><Expiration>%[6]s</Expiration></Credentials></%[1]sResult>`+
		`<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, escape(form.Get("RoleArn")), key.ID, escape(key.Secret), escape(key.Session), key.Expires.UTC().Format(time.RFC3339))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

func (a *AWS) assume(r *http.Request, body []byte, action string, form url.Values) (AccessKey, error) {
	if err := a.call(action); err != nil {
		return AccessKey{}, err
	}
	arn := form.Get("RoleArn")
	a.mu.Lock()
	role, ok := a.roles[arn]
	a.mu.Unlock()
	switch action {
	case "AssumeRole":
		if _, err := (RequestCheck{a.Region, "sts", a.keys(), a.now()}).Verify(r, body); err != nil {
			return AccessKey{}, err
		}
		if !ok || role.Web || role.ExternalID != form.Get("ExternalId") {
			return AccessKey{}, fmt.Errorf("AccessDenied: User: arn:aws:iam::123456789012:user/gateway is not authorized to perform: sts:AssumeRole on resource: %s", arn)
		}
	case "AssumeRoleWithWebIdentity":
		if !ok || !role.Web || form.Get("WebIdentityToken") != WebIdentityToken {
			return AccessKey{}, errors.New("InvalidIdentityToken: Couldn't retrieve verification key from your identity provider")
		}
	default:
		return AccessKey{}, fmt.Errorf("InvalidAction: Could not find operation %s for version 2011-06-15", action)
	}
	return a.session(form.Get("RoleSessionName")), nil
}

// metadata serves an EC2 instance's metadata, version 2 only.
func (a *AWS) metadata(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/latest/")
	if path == "api/token" && r.Method == http.MethodPut {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
		_, _ = w.Write([]byte(metadataToken))
		return
	}
	if r.Header.Get("X-Aws-Ec2-Metadata-Token") != metadataToken {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	const roles = "meta-data/iam/security-credentials/"
	switch path {
	case roles:
		_, _ = w.Write([]byte(instanceRole))
	case roles + instanceRole:
		a.credentials(w, "instance")
	case "dynamic/instance-identity/document":
		_ = json.NewEncoder(w).Encode(map[string]string{"region": a.Region})
	default:
		http.Error(w, "Not Found", http.StatusNotFound)
	}
}

// container serves what ECS and EKS have beside a container.
func (a *AWS) container(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != ContainerToken {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	a.credentials(w, "container")
}

// credentials hands out new ones, in the form that both metadata services use.
func (a *AWS) credentials(w http.ResponseWriter, operation string) {
	if err := a.call(operation); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	k := a.session(operation)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": a.now().UTC().Format(time.RFC3339),
		"AccessKeyId": k.ID, "SecretAccessKey": k.Secret, "Token": k.Session, "Expiration": k.Expires.UTC().Format(time.RFC3339),
	})
}

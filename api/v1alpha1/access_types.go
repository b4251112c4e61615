package v1alpha1

// A Resource is a file or a folder of configuration that belongs to the mesh.
type Resource struct {
	// Path is a file, or a folder that is read with all that is below it; a relative one is taken from the
	// document's folder. In a folder only .yaml, .yml and .json files count.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Clusters are those that it is for: an overlay. An object that it holds takes the place, as a whole, of the
	// object of the same kind and name in the entries that name no clusters. Default: every cluster.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Clusters []string `json:"clusters,omitempty"`
}

// Authorization says who may call what.
type Authorization struct {
	// Default is what happens to calls of workloads that no rule is about. "deny" refuses them, in every namespace;
	// gateways of the installation stay open, because what they lead to is refused where it is.
	//
	// +optional
	// +kubebuilder:default=allow
	// +kubebuilder:validation:Enum=allow;deny
	Default string `json:"default,omitempty"`
	// Mode is "enforce", or "dryRun": nothing is refused, and isthmus access report shows which callers would be.
	//
	// +optional
	// +kubebuilder:default=enforce
	// +kubebuilder:validation:Enum=enforce;dryRun
	Mode string `json:"mode,omitempty"`
	// Rules each let callers in. A workload that a rule is about takes the calls that one of its rules allows, and
	// no others, whatever default says.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=512
	Rules []AuthorizationRule `json:"rules,omitempty"`
}

// An AuthorizationRule lets callers call a workload. What it does not say is open: a rule without ports is about every port.
type AuthorizationRule struct {
	// Name becomes the AuthorizationPolicy isthmus-rule-NAME, which is what proxies name in their logs.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="a rule's name is a part of an object's name: lower-case letters, digits and \"-\", a letter or digit at both ends"
	Name string `json:"name"`
	// To is who is called.
	To Callee `json:"to"`
	// From are the callers; each of them may call.
	//
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	From []Caller `json:"from"`
	// Ports are those of the called pods, not those of their Service.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Ports []Port `json:"ports,omitempty"`
	// Methods are HTTP's. A rule with methods, paths or token lets no call in that is not HTTP.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Methods []Method `json:"methods,omitempty"`
	// Paths are whole paths, or with a "*" at one end the beginning or end of one. gRPC's are /package.Service/Method.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Paths []Path `json:"paths,omitempty"`
	// Token is what a call must bring besides.
	//
	// +optional
	Token *Token `json:"token,omitempty"`
}

// A Port is a port's number.
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type Port int32

// A Method is an HTTP method.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[A-Z]+$`
type Method string

// A Path is one that calls are made to.
//
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:Pattern=`^([/][^*]*[*]?|[*][^*]*)$`
type Path string

// A Callee is workloads of a namespace.
type Callee struct {
	// Namespace they are in.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Selector is labels that their pods have, all of them. Default: every workload of the namespace.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Selector map[string]string `json:"selector,omitempty"`
	// Clusters in which the rule holds. Default: every cluster that has the namespace.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Clusters []string `json:"clusters,omitempty"`
}

// A Caller is who may call, as its certificate tells: a namespace's service accounts, in whichever cluster. It is
// either a namespace or anyone.
//
// +kubebuilder:validation:XValidation:rule="has(self.namespace) != (has(self.anyone) && self.anyone)",message="a caller is either a namespace or anyone"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccounts) || has(self.namespace)",message="service accounts are those of a namespace"
type Caller struct {
	// Namespace of the caller.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// ServiceAccounts of the namespace. Default: all of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	ServiceAccounts []Account `json:"serviceAccounts,omitempty"`
	// Anyone lets in callers without an identity of the mesh too, such as those from outside at an ingress gateway.
	//
	// +optional
	Anyone bool `json:"anyone,omitempty"`
}

// An Account is a service account's name.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
type Account string

// A Token is what a call's token must say.
type Token struct {
	// Issuer is the name of one of spec.identity.jwt.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	Issuer string `json:"issuer"`
	// Claims that it must have, by name, each with one of these values. A claim inside a claim is written a.b.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Claims map[string][]string `json:"claims,omitempty"`
}

// Identity is whom the mesh believes beside its own certificates.
type Identity struct {
	// JWT are issuers of tokens. A token that is not valid is refused by every workload that one of them is
	// for (401, or 403 where it is for another audience); a call without a token is refused only where an access rule asks for one.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	JWT []JWTIssuer `json:"jwt,omitempty"`
}

// A JWTIssuer is an issuer of tokens, such as an OpenID provider. The fields are those of Istio's JWTRule.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.jwksUri) && has(self.jwks))",message="keys come either from jwksUri or from jwks"
type JWTIssuer struct {
	// Name becomes the RequestAuthentication isthmus-jwt-NAME.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="an issuer's name is a part of an object's name: lower-case letters, digits and \"-\", a letter or digit at both ends"
	Name string `json:"name"`
	// Issuer is the token's "iss", to the letter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Issuer string `json:"issuer"`
	// JWKSURI is where every primary's istiod reads the keys, again and again (PILOT_JWT_PUB_KEY_REFRESH_INTERVAL).
	// Default: what the issuer's /.well-known/openid-configuration says.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",message="keys are read from http://HOST/PATH or https://HOST/PATH"
	JWKSURI string `json:"jwksUri,omitempty"`
	// JWKS are the keys themselves, as JSON. Only public ones are taken.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	JWKS string `json:"jwks,omitempty"`
	// Audiences of which a token's "aud" must name one. Default: any.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Audiences []string `json:"audiences,omitempty"`
	// FromHeaders are where tokens are looked for. Default: Authorization, after "Bearer ".
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	FromHeaders []TokenHeader `json:"fromHeaders,omitempty"`
	// OutputClaimToHeaders copies claims into headers of the call.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	OutputClaimToHeaders []ClaimHeader `json:"outputClaimToHeaders,omitempty"`
	// ForwardOriginalToken keeps the token in the call. Here the default is true, unlike Istio's: otherwise the first
	// proxy on the way, a gateway say, would take it away from those behind it, which have rules of their own.
	//
	// +optional
	// +kubebuilder:default=true
	ForwardOriginalToken *bool `json:"forwardOriginalToken,omitempty"`
	// To are the workloads that believe this issuer. Default: all of the mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	To []Workloads `json:"to,omitempty"`
}

// Workloads are pods of a namespace.
type Workloads struct {
	// Namespace they are in.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Selector is labels that they have, all of them. Default: all of the namespace.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Selector map[string]string `json:"selector,omitempty"`
}

// A TokenHeader is a header that holds a token.
type TokenHeader struct {
	// Name of the header.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// Prefix before the token, with its space: "Bearer ".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Prefix string `json:"prefix,omitempty"`
}

// A ClaimHeader copies a claim into a header.
type ClaimHeader struct {
	// Header that is written, whatever the caller wrote there.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Header string `json:"header"`
	// Claim that is read; one inside another is written a.b.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Claim string `json:"claim"`
}

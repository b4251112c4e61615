package analyze

import (
	"maps"
	"slices"
)

// IsKnown tells whether an object of configuration is of a kind that its group has.
func IsKnown(o *Object) bool {
	_, _, known := versionsOf(o)
	return known
}

// KindsOf are the kinds of a group of configuration.
func KindsOf(group string) []string {
	if group == gatewayAPI {
		return slices.Sorted(maps.Keys(gatewayVersions))
	}
	return istioKinds(group)
}

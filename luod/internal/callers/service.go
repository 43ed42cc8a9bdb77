package callers

import "regexp"

// serviceName is what systemd takes for the name of a service: at most 255
// characters of these (systemd.unit(5)).
var serviceName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,247}\.service$`)

// ValidService says whether name can be a service's.
func ValidService(name string) bool { return serviceName.MatchString(name) }

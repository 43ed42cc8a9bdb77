// Package settings reads luod.conf(5): how long things may take and how much one
// unit may have. Files and drop-ins have systemd's places, order and syntax. What
// is wrong in them is told and has no effect, since luod must start in any case.
package settings

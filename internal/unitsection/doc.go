// Package unitsection reads what a unit says of its part in live updates: the
// section [X-LiveUpdate] of its unit file and drop-ins, which systemd itself
// ignores (systemd.unit(5)). What is wrong is said with file and line, since an
// update that misunderstands a service must not begin. It reads bytes and knows
// neither PID 1 nor the update.
package unitsection

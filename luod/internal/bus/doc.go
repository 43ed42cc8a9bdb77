// Package bus is luod's door on the system bus: org.luod.LiveUpdate1. It finds
// out who calls, asks polkit where an admin is meant, and passes everything else
// on. The bus comes after luod at boot and may restart, so the door opens
// whenever there is a bus and never keeps luod from working without one.
package bus

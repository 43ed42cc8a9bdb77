// Command luod-reissue runs as ExecStartPre= of a unit and gives it back what
// came through a live update: it fetches the unit's descriptors from luod and
// pushes them into the unit's own fd store, so that ExecStart= finds them as
// $LISTEN_FDS. With --memfd it makes the unit's memory at the first start and
// hands it to luod, for services that know nothing but $LISTEN_FDS. It is in
// luod-reissue(8).
package main

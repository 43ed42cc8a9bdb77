module github.com/liveupdate/luod

go 1.26.0

require (
	github.com/coreos/go-systemd/v22 v22.7.0
	// The daemons don't mind which: they read what others send by themselves. In 5.2.3 and 5.2.4
	// a message with an array of descriptors (ah) from anybody panics in the library's own
	// goroutine, and with package client in a service.
	github.com/godbus/dbus/v5 v5.2.2
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.49.0
)

require (
	github.com/anchore/go-lzo v0.1.1
	github.com/klauspost/compress v1.20.3
	github.com/moby/sys/mountinfo v0.7.3
	github.com/pierrec/lz4/v4 v4.1.33
	github.com/smallstep/pkcs7 v0.2.3
	github.com/therootcompany/xz v1.0.1
	github.com/ulikunitz/xz v0.5.17
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)

package preflight

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/smallstep/pkcs7"

	"github.com/liveupdate/luod/kexec/pe"
)

// demanded says what demands a signature, or "".
func (j *job) demanded() string {
	if lockdown := j.text("sys/kernel/security/lockdown"); lockdown != "" && !strings.Contains(lockdown, "[none]") {
		return "lockdown of the running kernel"
	}
	if config := j.runningConfig(); config.Has("KEXEC_SIG_FORCE") {
		return "CONFIG_KEXEC_SIG_FORCE of the running kernel"
	}
	return ""
}

func (j *job) signature() Result {
	if j.sources == nil {
		return j.unread()
	}
	by := j.demanded()
	if by == "" {
		if j.runningConfig() == nil && !j.exists("sys/kernel/security/lockdown") {
			return Result{Verdict: Warn, Reason: "whether the running kernel demands one is unknown", Remedy: "loading the kernel tells: 'luoctl load'"}
		}
		return Result{Verdict: OK, Reason: "none is demanded"}
	}
	if j.sources.Image.Packed() {
		return Result{Verdict: Fail, Reason: by + " demands one, and what is packed in this image has none", Remedy: "install a signed kernel that is not packed"}
	}
	signers, err := signers(j.sources.Kernel)
	switch {
	case errors.Is(err, errUnsigned):
		return Result{Verdict: Fail, Reason: by + " demands one, and it has none", Remedy: "install a signed kernel"}
	case err != nil:
		return Result{Verdict: Warn, Reason: fmt.Sprintf("%s demands one; this one can't be read: %v", by, err), Remedy: "loading the kernel tells: 'luoctl load'"}
	}
	trusted := j.trusted()
	if len(trusted) == 0 {
		return Result{Verdict: Warn, Reason: by + " demands one; the keys that the kernel trusts can't be seen in /proc/keys", Remedy: "loading the kernel tells: 'luoctl load'"}
	}
	for _, s := range signers {
		for _, key := range s.keys {
			if strings.Contains(trusted, key) {
				return Result{Verdict: OK, Reason: "signed by " + s.name + ", which the running kernel trusts"}
			}
		}
	}
	var list []string
	for _, s := range signers {
		list = append(list, s.name)
	}
	return Result{Verdict: Fail, Reason: fmt.Sprintf("signed by %s, which is not among the keys that the running kernel trusts", strings.Join(list, ", ")), Remedy: "install a kernel that is signed by a trusted key, or enroll that key (mokutil)"}
}

// trusted are the lines of /proc/keys with public keys, in lower case.
func (j *job) trusted() string {
	var all strings.Builder
	for line := range strings.Lines(j.text("proc/keys")) {
		if strings.Contains(line, "asymmetri") {
			all.WriteString(strings.ToLower(line))
		}
	}
	return all.String()
}

// signer is a certificate in a signature: its subject, and the key identifiers
// that the kernel may have it or its issuer under.
type signer struct {
	name string
	keys []string
}

var errUnsigned = errors.New("no signature")

// maxCertificates bounds the table, in bytes; one signature has 2 KB.
const maxCertificates = 1 << 20

// signers reads the certificates of an image's Authenticode signatures.
func signers(image *io.SectionReader) ([]signer, error) {
	file, err := pe.Read(image, image.Size())
	if errors.Is(err, pe.ErrNone) {
		return nil, errUnsigned
	}
	if err != nil {
		return nil, err
	}
	table := file.Certificates
	if table.Size == 0 {
		return nil, errUnsigned
	}
	if table.Size > maxCertificates {
		return nil, fmt.Errorf("it has %d bytes", table.Size)
	}
	data := make([]byte, table.Size)
	if _, err := io.ReadFull(table.Reader(image), data); err != nil {
		return nil, err
	}
	var list []signer
	// WIN_CERTIFICATE: length, revision, type (2 is PKCS #7), each at a multiple
	// of 8.
	for len(data) >= 8 {
		size := int(binary.LittleEndian.Uint32(data))
		if size < 8 || size > len(data) {
			return list, errors.New("its table is damaged")
		}
		if binary.LittleEndian.Uint16(data[6:]) == 2 {
			signed, err := pkcs7.Parse(data[8:size])
			if err != nil {
				return list, fmt.Errorf("read PKCS #7: %w", err)
			}
			for _, c := range signed.Certificates {
				s := signer{name: c.Subject.CommonName}
				for _, id := range [][]byte{c.SubjectKeyId, c.AuthorityKeyId} {
					if len(id) > 0 {
						s.keys = append(s.keys, hex.EncodeToString(id))
					}
				}
				list = append(list, s)
			}
		}
		data = data[min(len(data), (size+7)&^7):]
	}
	if len(list) == 0 {
		return nil, errors.New("it names no certificate")
	}
	return list, nil
}

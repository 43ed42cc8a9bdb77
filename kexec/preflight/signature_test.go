package preflight

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/liveupdate/luod/kexec/pe/petest"
)

// signed makes a PKCS #7 signature by a certificate whose key has this identifier.
func signed(t testing.TB, name string, keyID []byte) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, SubjectKeyId: keyID,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pkcs7.NewSignedData([]byte("digest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := data.AddSigner(certificate, key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	out, err := data.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASignatureIsComparedWithTheKernelsKeys(t *testing.T) {
	keyID := bytes.Repeat([]byte{0xab}, 20)
	const trusted = "0f9b I------     1 perm 1f030000     0     0 asymmetri Test signing key: abababababababababababababababababababab: X509.ecdsa abababab []\n"
	other := strings.ReplaceAll(trusted, "ab", "cd")
	for what, c := range map[string]struct {
		signature []byte
		keys      string
		verdict   Verdict
		reason    string
	}{
		"by a trusted key":  {signed(t, "Good Signer", keyID), other + trusted, OK, "Good Signer"},
		"by another":        {signed(t, "Bad Signer", keyID), other, Fail, "signed by Bad Signer"},
		"keys not seen":     {signed(t, "Good Signer", keyID), "", Warn, "can't be seen"},
		"a broken one":      {[]byte("nonsense"), trusted, Warn, "can't be read"},
		"not a certificate": {nil, trusted, Warn, "can't be read"},
	} {
		w := newWorld(t)
		w.write("sys/kernel/security/lockdown", "none [integrity] confidentiality")
		w.write("proc/keys", c.keys)
		w.write("boot/vmlinuz-"+release, string(petest.Sign(w.kernel.bytes(), c.signature)))
		for _, r := range w.run().Results {
			if r.Name == "signature" && (r.Verdict != c.verdict || !strings.Contains(r.Reason, c.reason)) {
				t.Errorf("%s: %+v", what, r)
			}
		}
	}
}

func FuzzSigners(f *testing.F) {
	f.Add(petest.Sign(make([]byte, 4096), signed(f, "x", []byte{1, 2, 3})))
	f.Add(petest.Sign(make([]byte, 4096), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := signers(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
		if err == nil && len(list) == 0 {
			t.Fatal("no error and no signer")
		}
		if len(data) > 8 && binary.LittleEndian.Uint16(data) == 0 && err == nil {
			t.Fatal("signed without a PE header")
		}
	})
}

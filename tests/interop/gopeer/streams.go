package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"time"

	"github.com/matrix-org/pinecone/router"
	"github.com/matrix-org/pinecone/sessions"
	"github.com/matrix-org/pinecone/types"
	"github.com/neilalexander/utp"
)

const applicationProtocol = "matrix"

// streams are connections with nodes, in both directions. Addresses are <key in hex>:<anything>.
type streams interface {
	net.Listener
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

func newStreams(kind string, r *router.Router, key ed25519.PrivateKey, logger *log.Logger) (streams, error) {
	switch kind {
	case "none", "probes":
		return nil, nil
	case "quic":
		return sessions.NewSessions(logger, r, []string{applicationProtocol}).Protocol(applicationProtocol), nil
	case "utp":
		return newUTPStreams(r, key)
	default:
		return nil, fmt.Errorf("there are no sessions of kind %q", kind)
	}
}

// utpStreams are those of 2021: µTP, and on each connection TLS 1.3 with a certificate of the node's key on both sides.
type utpStreams struct {
	socket      *utp.Socket
	certificate tls.Certificate
}

func newUTPStreams(r *router.Router, key ed25519.PrivateKey) (*utpStreams, error) {
	certificate, err := newCertificate(key)
	if err != nil {
		return nil, err
	}
	socket, err := utp.NewSocketFromPacketConnNoClose(r)
	if err != nil {
		return nil, err
	}
	// It calls them unasked.
	socket.OnAttach(func(net.Addr) {})
	socket.OnDetach(func(net.Addr) {})
	return &utpStreams{socket: socket, certificate: certificate}, nil
}

func newCertificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	public := key.Public()
	name := hex.EncodeToString(public.(ed25519.PublicKey))
	template := x509.Certificate{
		Subject:      pkix.Name{CommonName: name},
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		DNSNames:     []string{name},
	}
	encoded, err := x509.CreateCertificate(rand.Reader, &template, &template, public, key)
	return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}, err
}

// configuration of a TLS connection with the node that has this key, and no other.
func (s *utpStreams) configuration(key types.PublicKey) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{s.certificate},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // there are no authorities: the key below is all that counts
		VerifyPeerCertificate: func(encoded [][]byte, _ [][]*x509.Certificate) error {
			if len(encoded) != 1 {
				return fmt.Errorf("%d certificates came instead of one", len(encoded))
			}
			certificate, err := x509.ParseCertificate(encoded[0])
			if err != nil {
				return err
			}
			public, ok := certificate.PublicKey.(ed25519.PublicKey)
			if !ok || !bytes.Equal(public, key[:]) {
				return errors.New("the certificate is another node's")
			}
			return nil
		},
	}
}

func decodeKey(digits string) (types.PublicKey, error) {
	var key types.PublicKey
	bytes, err := hex.DecodeString(digits)
	if err != nil || len(bytes) != len(key) {
		return key, fmt.Errorf("%q is not a key", digits)
	}
	copy(key[:], bytes)
	return key, nil
}

func (s *utpStreams) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(host)
	if err != nil {
		return nil, err
	}
	connection, err := s.socket.DialAddrContext(ctx, key)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(connection, s.configuration(key))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return secured, nil
}

func (s *utpStreams) Accept() (net.Conn, error) {
	connection, err := s.socket.Accept()
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(connection.RemoteAddr().String())
	if err != nil {
		return nil, err
	}
	return tls.Server(connection, s.configuration(key)), nil
}

func (s *utpStreams) Close() error   { return s.socket.Close() }
func (s *utpStreams) Addr() net.Addr { return s.socket.Addr() }

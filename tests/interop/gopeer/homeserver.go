package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/fclient"
	"github.com/matrix-org/gomatrixserverlib/spec"
)

// The one that servers on the overlay sign with.
const signingKeyID = gomatrixserverlib.KeyID("ed25519:dendrite-demo-yggdrasil")

// homeserver is as much of one as its peers see of Dendrite, by the library that Dendrite federates with.
type homeserver struct {
	name       spec.ServerName
	key        ed25519.PrivateKey
	keys       *gomatrixserverlib.KeyRing
	transport  *recordingTransport
	federation fclient.FederationClient
	plain      *fclient.Client // its requests are not signed
	acting     sync.Mutex      // held by the one action that is under way
	rooms      map[string]*joinedRoom
	mutex      sync.Mutex        // of the others
	received   []json.RawMessage // events in transactions, oldest first
	refused    []string          // what came with a wrong signature, and why
}

func newHomeserver(s streams, key ed25519.PrivateKey) *homeserver {
	name := spec.ServerName(hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	transport := &recordingTransport{heads: []string{}, inner: &http.Transport{DialContext: s.DialContext}}
	byScheme := &http.Transport{}
	byScheme.RegisterProtocol("matrix", transport)
	identity := &fclient.SigningIdentity{ServerName: name, KeyID: signingKeyID, PrivateKey: key}
	return &homeserver{
		name:      name,
		key:       key,
		keys:      &gomatrixserverlib.KeyRing{KeyDatabase: namesAreKeys{}},
		transport: transport,
		federation: fclient.NewFederationClient(
			[]*fclient.SigningIdentity{identity}, fclient.WithTransport(byScheme),
		),
		plain: fclient.NewClient(fclient.WithTransport(byScheme)),
		rooms: map[string]*joinedRoom{},
	}
}

// namesAreKeys knows every server's key, by its name. As in Dendrite one other key id spoils the whole batch.
type namesAreKeys struct{}

func (namesAreKeys) FetchKeys(
	_ context.Context, requests map[gomatrixserverlib.PublicKeyLookupRequest]spec.Timestamp,
) (map[gomatrixserverlib.PublicKeyLookupRequest]gomatrixserverlib.PublicKeyLookupResult, error) {
	results := map[gomatrixserverlib.PublicKeyLookupRequest]gomatrixserverlib.PublicKeyLookupResult{}
	for request := range requests {
		if request.KeyID != signingKeyID {
			return nil, fmt.Errorf("%s signs as %s", request.ServerName, request.KeyID)
		}
		key, err := hex.DecodeString(string(request.ServerName))
		if err != nil {
			return nil, err
		}
		results[request] = gomatrixserverlib.PublicKeyLookupResult{
			VerifyKey:    gomatrixserverlib.VerifyKey{Key: key},
			ExpiredTS:    gomatrixserverlib.PublicKeyNotExpired,
			ValidUntilTS: spec.AsTimestamp(time.Now().Add(24 * time.Hour)),
		}
	}
	return results, nil
}

func (namesAreKeys) FetcherName() string { return "names" }

func (namesAreKeys) StoreKeys(
	context.Context, map[gomatrixserverlib.PublicKeyLookupRequest]gomatrixserverlib.PublicKeyLookupResult,
) error {
	return nil
}

// recordingTransport sends requests over the overlay and keeps their heads as they are on the wire.
type recordingTransport struct {
	inner *http.Transport
	mutex sync.Mutex
	heads []string
}

func (t *recordingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme = "http"
	head, err := httputil.DumpRequestOut(request, false)
	if err != nil {
		return nil, err
	}
	t.mutex.Lock()
	t.heads = append(t.heads, string(head))
	t.mutex.Unlock()
	return t.inner.RoundTrip(request)
}

// taken returns the heads since it was called last.
func (t *recordingTransport) taken() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	heads := t.heads
	t.heads = []string{}
	return heads
}

// ServeHTTP takes transactions and signs invites. All else is not found.
func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, refusal := fclient.VerifyHTTPRequest(r, time.Now(), h.name, nil, h.keys)
	if request == nil {
		h.mutex.Lock()
		h.refused = append(h.refused, fmt.Sprint(r.Method, " ", r.RequestURI, " ", refusal.JSON))
		h.mutex.Unlock()
		http.Error(w, "{}", refusal.Code)
		return
	}
	var answer any
	var err error
	switch path := request.RequestURI(); {
	case r.Method == http.MethodPut && strings.HasPrefix(path, "/_matrix/federation/v1/send/"):
		answer, err = h.takeTransaction(request.Content())
	case r.Method == http.MethodPut && strings.HasPrefix(path, "/_matrix/federation/v2/invite/"):
		answer, err = h.signInvite(request.Content())
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *homeserver) takeTransaction(content []byte) (any, error) {
	var transaction gomatrixserverlib.Transaction
	if err := json.Unmarshal(content, &transaction); err != nil {
		return nil, err
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.received = append(h.received, transaction.PDUs...)
	return fclient.RespSend{PDUs: map[string]fclient.PDUResult{}}, nil
}

func (h *homeserver) signInvite(content []byte) (any, error) {
	var request fclient.InviteV2Request
	if err := json.Unmarshal(content, &request); err != nil {
		return nil, err
	}
	event := request.Event().Sign(string(h.name), signingKeyID, h.key)
	return fclient.RespInviteV2{Event: event.JSON()}, nil
}

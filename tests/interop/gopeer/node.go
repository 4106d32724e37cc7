package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/matrix-org/pinecone/connections"
	"github.com/matrix-org/pinecone/multicast"
	"github.com/matrix-org/pinecone/router"
	"github.com/matrix-org/pinecone/router/events"
)

type node struct {
	router      *router.Router
	connections *connections.ConnectionManager
	client      *http.Client // nil where there are no sessions
	homeserver  *homeserver  // likewise
	probes      *probes      // nil where packets are for sessions
	listen      string
	mutex       sync.Mutex
	wakeups     map[string]bool // keys whose broadcasts came
}

func newNode(key ed25519.PrivateKey, o options) (*node, error) {
	logger := log.New(os.Stderr, "", log.Ltime|log.Lmicroseconds)
	n := &node{
		router:  router.NewRouter(logger, key, router.RouterOptionBlackhole(o.sessions == "none")),
		wakeups: map[string]bool{},
	}
	n.watchWakeups()
	n.connections = connections.NewConnectionManager(n.router, nil)
	if o.hopLimiting {
		n.router.EnableHopLimiting()
	}
	n.router.EnableWakeupBroadcasts()
	if o.sessions == "probes" {
		n.probes = newProbes(n.router)
	}
	streams, err := newStreams(o.sessions, n.router, key, logger)
	if err != nil {
		return nil, err
	}
	if streams != nil {
		n.client = newClient(streams)
		n.homeserver = newHomeserver(streams, key)
		go serve(streams, n.homeserver, o.transferTime)
	}
	if o.listen != "" {
		listener, err := net.Listen("tcp", o.listen)
		if err != nil {
			return nil, err
		}
		n.listen = listener.Addr().String()
		go n.accept(listener, logger)
	}
	if o.multicast {
		multicast.NewMulticast(logger, n.router).Start()
	}
	return n, nil
}

func (n *node) watchWakeups() {
	received := make(chan events.Event)
	n.router.Subscribe(received)
	go func() {
		for event := range received {
			if broadcast, ok := event.(events.BroadcastReceived); ok {
				n.mutex.Lock()
				n.wakeups[broadcast.PeerID] = true
				n.mutex.Unlock()
			}
		}
	}()
}

func (n *node) accept(listener net.Listener, logger *log.Logger) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			logger.Fatalln("Cannot accept:", err)
		}
		go func() {
			_, err := n.router.Connect(
				connection,
				router.ConnectionURI(connection.RemoteAddr().String()),
				router.ConnectionPeerType(router.PeerTypeRemote),
			)
			if err != nil {
				logger.Println("Refused peering:", err)
				_ = connection.Close()
			}
		}()
	}
}

// What the router tells of itself by HTTP only, as far as it is used here.
type manhole struct {
	Coordinates string `json:"coords"`
	Root        struct {
		Key      string `json:"root_public_key"`
		Sequence uint64 `json:"root_sequence"`
	} `json:"root"`
	Parent *struct {
		Key  string `json:"public_key"`
		Port int    `json:"port"`
	} `json:"parent"`
	Peers map[string][]struct {
		Port int `json:"port"`
	} `json:"peers"`
	Snake struct {
		Descending *struct {
			Key string `json:"public_key"`
		} `json:"descending"`
	} `json:"snek"`
}

// The same as the status of a node under test, as far as both have it.
type nodeState struct {
	Key         string      `json:"key"`
	Coordinates []uint64    `json:"coordinates"`
	Root        rootState   `json:"root"`
	Parent      *linkState  `json:"parent"`
	Descending  *string     `json:"descending"`
	Links       []linkState `json:"links"`
	Wakeups     []string    `json:"wakeups"`
}

type rootState struct {
	Key      string `json:"key"`
	Sequence uint64 `json:"sequence"`
}

type linkState struct {
	Key  string `json:"key"`
	Port int    `json:"port"`
}

func (n *node) state() (*nodeState, error) {
	recorder := httptest.NewRecorder()
	n.router.ManholeHandler(recorder, nil)
	var m manhole
	if err := json.Unmarshal(recorder.Body.Bytes(), &m); err != nil {
		return nil, fmt.Errorf("the router's state: %w", err)
	}
	s := &nodeState{
		Key:         n.router.PublicKey().String(),
		Coordinates: []uint64{},
		Root:        rootState{Key: m.Root.Key, Sequence: m.Root.Sequence},
		Links:       []linkState{},
		Wakeups:     []string{},
	}
	for _, hop := range strings.Fields(strings.Trim(m.Coordinates, "[]")) {
		number, err := strconv.ParseUint(hop, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("coordinates %q: %w", m.Coordinates, err)
		}
		s.Coordinates = append(s.Coordinates, number)
	}
	if m.Parent != nil {
		s.Parent = &linkState{Key: m.Parent.Key, Port: m.Parent.Port}
	}
	if m.Snake.Descending != nil {
		s.Descending = &m.Snake.Descending.Key
	}
	for key, links := range m.Peers {
		for _, link := range links {
			if link.Port != 0 {
				s.Links = append(s.Links, linkState{Key: key, Port: link.Port})
			}
		}
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for key := range n.wakeups {
		s.Wakeups = append(s.Wakeups, key)
	}
	return s, nil
}

func quicVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/quic-go/quic-go" {
			return module.Version
		}
	}
	return ""
}

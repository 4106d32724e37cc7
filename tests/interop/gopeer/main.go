// Command gopeer is a node of the Pinecone overlay for the interoperability tests: the reference implementation's
// router and sessions, driven by commands on standard input.
//
// A command is one JSON object a line, such as {"id": 1, "command": "state"}; its answer is one line with the same id,
// and with "error" where it failed. The first line written tells the node's key and where it listens. Answers come in
// the order in which commands end. The program ends with its standard input. The router's log goes to standard error.
//
// As in Dendrite, hops are limited, unless an option says otherwise, and wakeups broadcast.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
)

type options struct {
	seed         string
	listen       string
	peers        string
	sessions     string
	transferTime int
	hopLimiting  bool
	multicast    bool
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.seed, "seed", "", "the key's seed, 64 hex digits; a new key if empty")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "TCP address to accept peerings on; none if empty")
	flag.StringVar(&o.peers, "peers", "", "TCP addresses to keep peerings with, separated by commas")
	flag.StringVar(&o.sessions, "sessions", "none", "quic, utp, probes, or none for a relay that has no use for packets")
	flag.IntVar(&o.transferTime, "transfer-time", 10, "seconds that a request or an answer may take; Dendrite gives 10")
	flag.BoolVar(&o.hopLimiting, "hop-limiting", true, "whether frames lose a hop at each node, of which they have 10")
	flag.BoolVar(&o.multicast, "multicast", false, "whether peers on the local networks are found by multicast")
	flag.Parse()
	return o
}

func privateKey(seed string) (ed25519.PrivateKey, error) {
	if seed == "" {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	bytes, err := hex.DecodeString(seed)
	if err != nil || len(bytes) != ed25519.SeedSize {
		return nil, fmt.Errorf("a seed has %d hex digits", 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(bytes), nil
}

// answers writes JSON lines; commands run side by side.
type answers struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (a *answers) write(value any) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err := a.encoder.Encode(value); err != nil {
		log.Fatalln("Nobody reads the answers:", err)
	}
}

type command struct {
	ID      uint64 `json:"id"`
	Command string `json:"command"`
	Address string `json:"address"`
	requestOptions
	loadOptions
	federationOptions
}

type answer struct {
	ID     uint64 `json:"id"`
	Error  string `json:"error,omitempty"`
	Result any    `json:"result,omitempty"`
}

func run(n *node, c command) (any, error) {
	switch c.Command {
	case "state":
		return n.state()
	case "request":
		return n.request(c.requestOptions)
	case "small":
		return n.small(c.requestOptions, c.Count)
	case "load":
		return n.load(c.requestOptions, c.Workers, c.Seconds)
	case "probe":
		return n.probe(c.Keys, c.Timeout)
	case "federate":
		return n.federate(c.requestOptions, c.federationOptions)
	case "connect":
		n.connections.AddPeer(c.Address)
		return nil, nil
	case "disconnect":
		n.connections.RemovePeer(c.Address)
		return nil, nil
	default:
		return nil, fmt.Errorf("there is no command %q", c.Command)
	}
}

func main() {
	o := parseOptions()
	key, err := privateKey(o.seed)
	if err != nil {
		log.Fatalln(err)
	}
	n, err := newNode(key, o)
	if err != nil {
		log.Fatalln(err)
	}
	out := &answers{encoder: json.NewEncoder(os.Stdout)}
	out.write(map[string]string{"key": n.router.PublicKey().String(), "listen": n.listen, "quic": quicVersion()})
	for _, address := range strings.Split(o.peers, ",") {
		if address != "" {
			go n.connections.AddPeer(address)
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			out.write(answer{Error: err.Error()})
			continue
		}
		go func() {
			result, err := run(n, c)
			if err != nil {
				out.write(answer{ID: c.ID, Error: err.Error()})
			} else {
				out.write(answer{ID: c.ID, Result: result})
			}
		}()
	}
}

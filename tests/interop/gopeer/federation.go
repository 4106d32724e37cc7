package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/fclient"
	"github.com/matrix-org/gomatrixserverlib/spec"
)

// What the command "federate" can do to another homeserver, each in the way that Dendrite does it.
type federationOptions struct {
	Action   string   `json:"action"`
	User     string   `json:"user"`
	Room     string   `json:"room"`
	Alias    string   `json:"alias"`
	Version  string   `json:"version"`
	Event    string   `json:"event"`
	Earliest []string `json:"earliest"`
	Latest   []string `json:"latest"`
	Text     string   `json:"text"`
	Typing   int      `json:"typing"` // EDUs in a transaction
	Device   string   `json:"device"`
	Media    string   `json:"media"`
}

type federationResult struct {
	Answer   any      `json:"answer"`
	Requests []string `json:"requests"` // heads
	Seconds  float64  `json:"seconds"`
}

// joinedRoom is what a member's server knows of a room.
type joinedRoom struct {
	version gomatrixserverlib.IRoomVersion
	state   []gomatrixserverlib.PDU
	last    gomatrixserverlib.PDU
}

// eventView is an event whose hashes and signatures are right.
type eventView struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Sender   string          `json:"sender"`
	Content  json.RawMessage `json:"content"`
	Previous []string        `json:"previous"`
}

func (n *node) federate(r requestOptions, o federationOptions) (*federationResult, error) {
	h := n.homeserver
	if h == nil {
		return nil, errors.New("this node has no sessions")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Timeout*float64(time.Second)))
	defer cancel()
	h.acting.Lock()
	defer h.acting.Unlock()
	h.transport.taken()
	started := time.Now()
	answer, err := h.act(ctx, spec.ServerName(r.Key), o)
	if err != nil {
		return nil, err
	}
	return &federationResult{answer, h.transport.taken(), time.Since(started).Seconds()}, nil
}

func (h *homeserver) act(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	switch o.Action {
	case "profile":
		return h.federation.LookupProfile(ctx, h.name, server, o.User, "")
	case "directory":
		return h.federation.LookupRoomAlias(ctx, h.name, server, o.Alias)
	case "public rooms":
		return h.federation.GetPublicRooms(ctx, h.name, server, 200, "", false, "")
	case "search":
		return h.search(ctx, server, o.Text)
	case "invite":
		return h.invite(ctx, server, o)
	case "join":
		return h.join(ctx, server, o)
	case "leave":
		return h.leave(ctx, server, o)
	case "event":
		transaction, err := h.federation.GetEvent(ctx, h.name, server, o.Event)
		return h.viewed(o.Room, transaction.PDUs, err)
	case "state ids":
		return h.federation.LookupStateIDs(ctx, h.name, server, o.Room, o.Event)
	case "missing events":
		return h.missingEvents(ctx, server, o)
	case "backfill":
		transaction, err := h.federation.Backfill(ctx, h.name, server, o.Room, 10, []string{o.Event})
		return h.viewed(o.Room, transaction.PDUs, err)
	case "send":
		return h.send(ctx, server, o)
	case "received":
		h.mutex.Lock()
		received, refused := h.received, h.refused
		h.mutex.Unlock()
		if len(refused) > 0 {
			return nil, fmt.Errorf("refused: %q", refused)
		}
		return h.viewed(o.Room, received, nil)
	case "devices":
		return h.federation.GetUserDevices(ctx, h.name, server, o.User)
	case "query keys":
		return h.federation.QueryKeys(ctx, h.name, server, map[string][]string{o.User: {}})
	case "claim keys":
		wanted := map[string]map[string]string{o.User: {o.Device: "signed_curve25519"}}
		return h.federation.ClaimKeys(ctx, h.name, server, wanted)
	case "media":
		response, err := h.federation.DownloadMedia(ctx, h.name, server, o.Media)
		return readParts(response, err)
	case "media of old":
		response, err := h.plain.CreateMediaDownloadRequest(ctx, server, o.Media)
		return readWhole(response, err)
	default:
		return nil, fmt.Errorf("there is no action %q", o.Action)
	}
}

func (h *homeserver) search(ctx context.Context, server spec.ServerName, text string) (any, error) {
	body, err := json.Marshal(map[string]any{"SearchString": text, "Limit": 25})
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("matrix://%s/_matrix/p2p/profiles", server)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, bytes.NewBuffer(body))
	if err != nil {
		return nil, err
	}
	var answer any
	err = h.federation.DoRequestAndParseResponse(ctx, request, &answer)
	return answer, err
}

func userOfSender(_ spec.RoomID, sender spec.SenderID) (*spec.UserID, error) {
	return spec.NewUserID(string(sender), true)
}

func (h *homeserver) join(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	user, err := spec.NewUserID(o.User, true)
	if err != nil {
		return nil, err
	}
	room, err := spec.NewRoomID(o.Room)
	if err != nil {
		return nil, err
	}
	joined, failure := gomatrixserverlib.PerformJoin(ctx, joinClient{h.federation}, gomatrixserverlib.PerformJoinInput{
		UserID:     user,
		RoomID:     room,
		ServerName: server,
		Content:    map[string]any{"displayname": "Dave"},
		PrivateKey: h.key,
		KeyID:      signingKeyID,
		KeyRing:    h.keys,
		EventProvider: func(_ gomatrixserverlib.RoomVersion, ids []string) ([]gomatrixserverlib.PDU, error) {
			return nil, fmt.Errorf("the answer has not got %q", ids)
		},
		UserIDQuerier: userOfSender,
	})
	if failure != nil {
		return nil, failure
	}
	event := joined.JoinEvent
	version := gomatrixserverlib.MustGetRoomVersion(event.Version())
	state := joined.StateSnapshot.GetStateEvents().UntrustedEvents(event.Version())
	h.rooms[o.Room] = &joinedRoom{version: version, state: append(state, event), last: event}
	return map[string]any{"version": event.Version(), "event": view(event), "state": views(state)}, nil
}

// joinClient has the types that PerformJoin wants.
type joinClient struct{ fclient.FederationClient }

func (c joinClient) MakeJoin(
	ctx context.Context, origin, server spec.ServerName, room, user string,
) (gomatrixserverlib.MakeJoinResponse, error) {
	response, err := c.FederationClient.MakeJoin(ctx, origin, server, room, user)
	return &response, err
}

func (c joinClient) SendJoin(
	ctx context.Context, origin, server spec.ServerName, event gomatrixserverlib.PDU,
) (gomatrixserverlib.SendJoinResponse, error) {
	response, err := c.FederationClient.SendJoin(ctx, origin, server, event)
	return &response, err
}

func (h *homeserver) leave(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	template, err := h.federation.MakeLeave(ctx, h.name, server, o.Room, o.User)
	if err != nil {
		return nil, err
	}
	version, err := gomatrixserverlib.GetRoomVersion(template.RoomVersion)
	if err != nil {
		return nil, err
	}
	builder := version.NewEventBuilderFromProtoEvent(&template.LeaveEvent)
	event, err := h.build(builder, map[string]any{"membership": spec.Leave})
	if err != nil {
		return nil, err
	}
	return map[string]any{"version": template.RoomVersion}, h.federation.SendLeave(ctx, h.name, server, event)
}

// invite makes a room of this server's and invites a user of the other's to it, in the way of old if it is of version 1.
func (h *homeserver) invite(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(o.Version))
	if err != nil {
		return nil, err
	}
	host := fmt.Sprintf("@dave:%s", h.name)
	room := fmt.Sprintf("!of%s:%s", o.Version, h.name)
	var events []gomatrixserverlib.PDU
	add := func(kind, stateKey string, content any) error {
		builder := version.NewEventBuilder()
		builder.Type, builder.RoomID, builder.SenderID, builder.StateKey = kind, room, host, &stateKey
		builder.Depth = int64(len(events) + 1)
		if len(events) > 0 {
			builder.PrevEvents = []string{events[len(events)-1].EventID()}
		}
		state, err := gomatrixserverlib.NewAuthEvents(events)
		if err != nil {
			return err
		}
		builder.Content, err = json.Marshal(content)
		if err != nil {
			return err
		}
		if err := builder.AddAuthEvents(state); err != nil {
			return err
		}
		event, err := h.build(builder, content)
		events = append(events, event)
		return err
	}
	err = errors.Join(
		add(spec.MRoomCreate, "", map[string]any{"room_version": o.Version, "creator": host}),
		add(spec.MRoomMember, host, map[string]any{"membership": spec.Join}),
		add(spec.MRoomMember, o.User, map[string]any{"membership": spec.Invite}),
	)
	if err != nil {
		return nil, err
	}
	invite := events[len(events)-1]
	signed, err := h.sendInvite(ctx, server, invite, events[:1])
	if err != nil {
		return nil, err
	}
	h.rooms[room] = &joinedRoom{version: version}
	// Both servers' signatures are checked.
	return h.viewed(room, []json.RawMessage{json.RawMessage(signed)}, nil)
}

func (h *homeserver) sendInvite(
	ctx context.Context, server spec.ServerName, event gomatrixserverlib.PDU, state []gomatrixserverlib.PDU,
) (spec.RawJSON, error) {
	if event.Version() == gomatrixserverlib.RoomVersionV1 {
		client := h.federation.(interface {
			SendInvite(
				ctx context.Context, origin, s spec.ServerName, event gomatrixserverlib.PDU,
			) (fclient.RespInvite, error)
		})
		response, err := client.SendInvite(ctx, h.name, server, event)
		return response.Event, err
	}
	var stripped []gomatrixserverlib.InviteStrippedState
	for _, of := range state {
		stripped = append(stripped, gomatrixserverlib.NewInviteStrippedState(of))
	}
	request, err := fclient.NewInviteV2Request(event, stripped)
	if err != nil {
		return nil, err
	}
	response, err := h.federation.SendInviteV2(ctx, h.name, server, request)
	return response.Event, err
}

// send sends a message behind the last event of the room that this server knows, and that many typing notices.
func (h *homeserver) send(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	room := h.rooms[o.Room]
	if room == nil {
		return nil, fmt.Errorf("not in %q", o.Room)
	}
	state, err := gomatrixserverlib.NewAuthEvents(room.state)
	if err != nil {
		return nil, err
	}
	builder := room.version.NewEventBuilder()
	builder.Type, builder.RoomID, builder.SenderID = "m.room.message", o.Room, o.User
	builder.Depth = room.last.Depth() + 1
	builder.PrevEvents = []string{room.last.EventID()}
	if err := builder.AddAuthEvents(state); err != nil {
		return nil, err
	}
	event, err := h.build(builder, map[string]any{"msgtype": "m.text", "body": o.Text})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	transaction := gomatrixserverlib.Transaction{
		TransactionID:  gomatrixserverlib.TransactionID(fmt.Sprintf("%d-%d", now.UnixMilli(), 1)),
		Origin:         h.name,
		Destination:    server,
		OriginServerTS: spec.AsTimestamp(now),
		PDUs:           []json.RawMessage{event.JSON()},
	}
	typing, err := json.Marshal(map[string]any{"room_id": o.Room, "user_id": o.User, "typing": true})
	if err != nil {
		return nil, err
	}
	for range o.Typing {
		notice := gomatrixserverlib.EDU{Type: "m.typing", Origin: string(h.name), Content: typing}
		transaction.EDUs = append(transaction.EDUs, notice)
	}
	result, err := h.federation.SendTransaction(ctx, transaction)
	room.last = event
	return map[string]any{"event": view(event), "result": result}, err
}

func (h *homeserver) missingEvents(ctx context.Context, server spec.ServerName, o federationOptions) (any, error) {
	missing := fclient.MissingEvents{Limit: 20, EarliestEvents: o.Earliest, LatestEvents: o.Latest}
	version := gomatrixserverlib.RoomVersion(o.Version)
	response, err := h.federation.LookupMissingEvents(ctx, h.name, server, o.Room, missing, version)
	var events []json.RawMessage
	for _, event := range response.Events {
		events = append(events, json.RawMessage(event))
	}
	return h.viewed(o.Room, events, err)
}

// build signs an event.
func (h *homeserver) build(builder *gomatrixserverlib.EventBuilder, content any) (gomatrixserverlib.PDU, error) {
	if err := builder.SetContent(content); err != nil {
		return nil, err
	}
	if err := builder.SetUnsigned(struct{}{}); err != nil {
		return nil, err
	}
	return builder.Build(time.Now(), h.name, signingKeyID, h.key)
}

// viewed returns events of a room that came, if all of them are as they were signed; the newest one is remembered.
func (h *homeserver) viewed(roomID string, encoded []json.RawMessage, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	room := h.rooms[roomID]
	if room == nil {
		return nil, fmt.Errorf("not in %q", roomID)
	}
	found := []eventView{}
	for _, one := range encoded {
		event, err := room.version.NewEventFromUntrustedJSON(one)
		if err != nil {
			return nil, err
		}
		if event.RoomID().String() != roomID {
			continue
		}
		if event.Redacted() {
			return nil, fmt.Errorf("the hash of %s is wrong", event.EventID())
		}
		err = gomatrixserverlib.VerifyEventSignatures(context.Background(), event, h.keys, userOfSender)
		if err != nil {
			return nil, err
		}
		if room.last != nil && event.Depth() > room.last.Depth() {
			room.last = event
		}
		found = append(found, view(event))
	}
	return found, nil
}

func view(event gomatrixserverlib.PDU) eventView {
	return eventView{
		ID:       event.EventID(),
		Type:     event.Type(),
		StateKey: event.StateKey(),
		Sender:   string(event.SenderID()),
		Content:  event.Content(),
		Previous: event.PrevEventIDs(),
	}
}

func views(events []gomatrixserverlib.PDU) []eventView {
	found := []eventView{}
	for _, event := range events {
		found = append(found, view(event))
	}
	return found
}

type fileResult struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func readWhole(response *http.Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readFile(response.Body, response.StatusCode, response.Header.Get("Content-Type"))
}

func readFile(from io.Reader, status int, kind string) (any, error) {
	digest := sha256.New()
	length, err := io.Copy(digest, from)
	return fileResult{status, kind, int(length), hex.EncodeToString(digest.Sum(nil))}, err
}

// readParts wants what Dendrite wants: a part that is exactly JSON, and one that is the file itself and no address.
func readParts(response *http.Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	kind, parameters, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		return nil, fmt.Errorf("%d, %q: %w", response.StatusCode, kind, err)
	}
	parts := multipart.NewReader(response.Body, parameters["boundary"])
	about, err := parts.NextPart()
	if err != nil {
		return nil, err
	}
	var metadata map[string]any
	if kind := about.Header.Get("Content-Type"); kind != "application/json" {
		return nil, fmt.Errorf("the first part is %q", kind)
	}
	if err := json.NewDecoder(about).Decode(&metadata); err != nil {
		return nil, err
	}
	file, err := parts.NextPart()
	if err != nil {
		return nil, err
	}
	if file.Header.Get("Location") != "" {
		return nil, errors.New("the file is elsewhere")
	}
	return readFile(file, response.StatusCode, file.Header.Get("Content-Type"))
}

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// Endpoint is where a webhook goes to, and the secret by which it is signed.
type Endpoint struct {
	URL    *url.URL
	Secret Secret
}

// Host is the endpoint without its path, in which many services have a key.
func (e Endpoint) Host() string { return e.URL.Scheme + "://" + e.URL.Host }

// ParseURL reads the URL of an endpoint: https, or http on this machine.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want an https URL") // which it is not is not said: it can have a key
	}
	ip, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme == "http" && !local {
		return nil, errors.New("want an https URL: http is for this machine alone")
	}
	if u.User != nil || u.Fragment != "" {
		return nil, errors.New("want a URL without user, password and fragment")
	}
	return u, nil
}

// Secret signs webhooks. No text of it is ever printed.
type Secret struct{ key []byte }

// Format implements fmt.Formatter.
func (Secret) Format(s fmt.State, _ rune) { io.WriteString(s, "whsec_…") } //nolint:errcheck // there is nobody to tell

// ParseSecret reads a secret as Standard Webhooks writes it.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return Secret{}, errors.New("want whsec_ and 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)")
	}
	return Secret{key}, nil
}

// sign returns the signature of a message, as Standard Webhooks defines it.
func (s Secret) sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(append(fmt.Appendf(nil, "%s.%d.", id, at.Unix()), body...)) //nolint:errcheck // a hash takes everything
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// message is the body of a webhook.
type message struct {
	Type      string     `json:"type"` // call.held or call.ended
	Timestamp event.Time `json:"timestamp"`
	Data      data       `json:"data"`
}

type data struct {
	V int `json:"v"`
	review.Change
}

// bodyVersion is that of data: it grows by adding members, and changes if one comes to mean something else.
const bodyVersion = 1

func newMessage(c review.Change) message {
	m := message{Type: "call.held", Timestamp: c.Since, Data: data{bodyVersion, c}}
	if c.Ended != nil {
		m.Type, m.Timestamp = "call.ended", c.Ended.At
	}
	return m
}

// How long a webhook is tried.
const (
	attemptWithin = 10 * time.Second
	firstRetry    = time.Second // then twice as long each time, up to …
	lastRetry     = time.Minute
	tooOld        = 10 * time.Minute // for anybody to want it: a hold takes five
)

// webhook delivers messages one after the other, so that they arrive in order.
type webhook struct {
	to      Endpoint
	client  *http.Client
	agent   string
	log     *slog.Logger
	trouble trouble
	closing chan struct{} // closed when there is no time for retries any more
	gone    bool          // the endpoint wants no more
}

func newWebhook(cfg Config) *webhook {
	w := &webhook{
		to: *cfg.Webhook, agent: "umpire/" + cfg.Version, log: cfg.Log, closing: make(chan struct{}),
		trouble: trouble{what: "the webhook to " + cfg.Webhook.Host(), log: cfg.Log},
	}
	w.client = &http.Client{
		Transport: cfg.transport, Timeout: attemptWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // what is signed is for nobody else
	}
	if cfg.transport == nil {
		network := http.DefaultTransport.(*http.Transport).Clone()
		network.MaxIdleConns = 1
		w.client.Transport = network
	}
	return w
}

// run delivers what a feed tells, until there is no more.
func (w *webhook) run(ctx context.Context, feed *review.Feed) {
	defer w.client.CloseIdleConnections()
	for more := true; more; {
		var list []review.Change
		var lost int
		list, lost, more = feed.Next(ctx)
		for i, c := range list {
			if w.gone {
				return
			}
			if !w.deliver(ctx, newMessage(c)) {
				lost++
			}
			list[i] = review.Change{}
		}
		if lost > 0 {
			w.log.Warn(w.trouble.what+" has missed messages", "messages", lost)
		}
	}
}

// deliver tries until a message has arrived, or will not.
func (w *webhook) deliver(ctx context.Context, m message) bool {
	body, err := encode(m)
	if err != nil {
		w.trouble.set(err.Error())
		return false
	}
	id := "msg_" + rand.Text()
	if time.Since(m.Timestamp.Time()) > tooOld {
		return false
	}
	for begun, wait := time.Now(), firstRetry; time.Since(begun) < tooOld; wait = min(2*wait, lastRetry) {
		again, pause, err := w.try(ctx, id, body)
		if err == nil {
			w.trouble.set("")
			return true
		}
		w.trouble.set(err.Error())
		if !again {
			return false
		}
		select {
		case <-time.After(max(wait, min(pause, lastRetry))):
		case <-w.closing:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func encode(m message) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(m)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// try makes one attempt. Again says that another one makes sense, not before the pause that the endpoint asks for.
func (w *webhook) try(ctx context.Context, id string, body []byte) (again bool, pause time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.to.URL.String(), bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the URL cannot be used")
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", w.agent)
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", w.to.Secret.sign(id, now, body))
	resp, err := w.client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) { // its text has the whole URL
			err = failed.Err
		}
		return true, 0, err
	}
	defer resp.Body.Close()                                //nolint:errcheck // it was read as far as anybody wants to
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return false, 0, nil
	case code == http.StatusGone:
		w.gone = true
		return false, 0, errors.New("it answers 410 Gone: nothing more is sent before the next start")
	case code/100 == 3:
		return false, 0, fmt.Errorf("it answers %d, and redirects are not followed", code)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > int(lastRetry.Seconds()) {
			seconds = 0
		}
		return true, time.Duration(seconds) * time.Second, fmt.Errorf("it answers %d %s", code, http.StatusText(code))
	default:
		return false, 0, fmt.Errorf("it answers %d %s", code, http.StatusText(code))
	}
}

// Package billing is an MCP server of a small shop: customers, orders and refunds. It is as trusting as such servers
// are: every single refund looks valid to it.
package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Shop is the books of the shop. It is safe for concurrent use.
type Shop struct {
	mu      sync.Mutex
	orders  map[string]Order
	refunds []Refund
}

// Order is what a customer has bought.
type Order struct {
	ID       string  `json:"order_id"`
	Customer string  `json:"customer_id"`
	Total    float64 `json:"total"`
	Status   string  `json:"status"`
}

// Refund is money that has left the shop.
type Refund struct {
	Order    string  `json:"order_id"`
	Customer string  `json:"customer_id"`
	Amount   float64 `json:"amount"`
	Reason   string  `json:"reason"`
}

// NewShop returns a shop with n orders, ord_1001 and up, of ten customers, c_1 to c_10.
func NewShop(n int) *Shop {
	s := &Shop{orders: map[string]Order{}}
	for i := range n {
		o := Order{ID: fmt.Sprintf("ord_%d", 1001+i), Customer: fmt.Sprintf("c_%d", 1+i%10), Total: float64(20 + i%7*15), Status: "delivered"}
		s.orders[o.ID] = o
	}
	return s
}

// Paid returns the money that has left the shop.
func (s *Shop) Paid() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := 0.0
	for _, r := range s.refunds {
		sum += r.Amount
	}
	return sum
}

// Refunds returns how many refunds were paid.
func (s *Shop) Refunds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.refunds)
}

// Server returns the MCP server of the shop.
func (s *Shop) Server() *server.MCPServer {
	m := server.NewMCPServer("billing", "1.0.0", server.WithToolCapabilities(false))
	m.AddTool(mcp.NewTool("get_order",
		mcp.WithDescription("Looks an order up."),
		mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithString("order_id", mcp.Required(), mcp.Description("such as ord_1001")),
	), s.getOrder)
	m.AddTool(mcp.NewTool("list_orders",
		mcp.WithDescription("Lists the orders of a customer, ten a page."),
		mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithString("customer_id", mcp.Required(), mcp.Description("such as c_1")),
		mcp.WithInteger("page", mcp.Description("from 1")),
	), s.listOrders)
	m.AddTool(mcp.NewTool("issue_refund",
		mcp.WithDescription("Pays money back to a customer."),
		mcp.WithDestructiveHintAnnotation(true),
		mcp.WithString("order_id", mcp.Required()),
		mcp.WithString("customer_id", mcp.Required()),
		mcp.WithNumber("amount", mcp.Required(), mcp.Description("in dollars")),
		mcp.WithString("reason"),
	), s.issueRefund)
	return m
}

// Handler returns the shop's server over Streamable HTTP.
func (s *Shop) Handler() http.Handler { return server.NewStreamableHTTPServer(s.Server()) }

func (s *Shop) getOrder(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	id, err := req.RequireString("order_id")
	if err != nil {
		return mcp.NewToolResultErrorFromErr("get_order", err), nil
	}
	s.mu.Lock()
	o, ok := s.orders[id]
	s.mu.Unlock()
	if !ok {
		return mcp.NewToolResultError("there is no order " + id), nil
	}
	return mcp.NewToolResultStructuredOnly(o), nil
}

func (s *Shop) listOrders(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	customer, err := req.RequireString("customer_id")
	if err != nil {
		return mcp.NewToolResultErrorFromErr("list_orders", err), nil
	}
	const size = 10
	skip := (req.GetInt("page", 1) - 1) * size
	var page []Order
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range len(s.orders) {
		o := s.orders[fmt.Sprintf("ord_%d", 1001+i)]
		if o.Customer != customer {
			continue
		}
		if skip--; skip < 0 && len(page) < size {
			page = append(page, o)
		}
	}
	return mcp.NewToolResultStructuredOnly(map[string]any{"orders": page}), nil
}

func (s *Shop) issueRefund(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	order, err1 := req.RequireString("order_id")
	customer, err2 := req.RequireString("customer_id")
	amount, err3 := req.RequireFloat("amount")
	if err := errors.Join(err1, err2, err3); err != nil {
		return mcp.NewToolResultErrorFromErr("issue_refund", err), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refunds = append(s.refunds, Refund{Order: order, Customer: customer, Amount: amount, Reason: req.GetString("reason", "")})
	return mcp.NewToolResultText(fmt.Sprintf("refunded %.2f to %s for %s", amount, customer, order)), nil
}

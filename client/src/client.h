/* What the files of libkeyd share.
 *
 *   client.c   settings, submitting, callbacks, deadlines, one turn of all of it
 *   pool.c     endpoints: which one next, what to do after a refusal or a loss
 *   link.c     one connection: made, greeted, frames out and in
 *   parts.c    objects in parts, on connections without descriptors
 *   tls.c      TLS as a stream of octets         address.c  where a server is
 *   request.c  to messages     answer.c  from messages     calls.c  for convenience
 *
 * A call is what the caller submitted, until it is called back. It is either in the
 * client's lists (waiting: to be sent; later: not before again_ms) or a link's. A
 * flight is one request on the wire: that of a call, or one part of its object; it
 * stays until it is answered, also when nobody wants the answer any more, because its
 * id is taken so long. */
#ifndef KEYD_CLIENT_SRC_CLIENT_H
#define KEYD_CLIENT_SRC_CLIENT_H

#include <keyd/base/clock.h>
#include <keyd/rpc/rpc_pb.h>
#include <keyd_client.h>
#include <sys/queue.h>

enum {
    WAITING_MAX = 4096,
    DEADLINE_MAX = 600000,
    DEADLINE_START = 30000,
    QUEUE_MAX = 512 * 1024,
    QUEUE_HIGH = 128 * 1024, /* above it nothing new is begun on a link */
    RECV_ROUNDS = 16, /* of one turn: an answer flood does not hold the caller up */
    MOVES_MAX = 2,    /* objects in parts at a time on a link, each way */
    PARTS_AHEAD = 4,  /* parts of one object in flight */
    KINDS = 3,        /* of operations, see op_kind */
};

/* What the caller gets, with all it points to. Made when the request is submitted, so
 * that a call can always be ended. */
struct box {
    struct keyd_answer answer; /* first: the caller's pointer is this one */
    struct kd_arena arena;     /* holds the decoded response */
    uint8_t *object;           /* what came apart from the response */
    char detail[49];
    keyd_client_done done;
    void *cookie;
    TAILQ_ENTRY(box) entry;
};
TAILQ_HEAD(boxes, box);

enum call_stage { CALL_QUEUED, CALL_UPLOADING, CALL_ASKED, CALL_FETCHING };

struct call {
    struct box *box;
    uint64_t id;
    unsigned oneof_case;
    bool changing; /* has an idempotency key */
    bool reads;    /* may be done any number of times */
    bool secret;   /* sent once, never over TLS */
    int64_t deadline_ms;
    struct kd_buf body; /* the operation alone: the head is made for each attempt */
    int fd;             /* object that goes with it, or -1 */

    /* Where and when it may go. */
    unsigned endpoint;        /* to this one only; 0: any */
    unsigned group;           /* to one of this group only; 0: any */
    bool maybe_done;          /* by an attempt whose end nobody knows */
    uint32_t tried;           /* endpoints that refused it in this round, a bit each */
    int64_t again_ms;         /* in the later list: not before */
    enum keyd_status refusal; /* the last; KEYD_OK: none */

    /* The present attempt. */
    enum call_stage stage;
    struct link *link; /* NULL: it is in the client's lists */
    int64_t sent_ms;
    uint64_t ends_at;      /* position in the link's stream where its frame ends */
    uint8_t object_id[16]; /* of what is uploaded or fetched */
    uint32_t size;         /* of that */
    uint32_t asked, moved; /* octets of it in flight or moved; moved */
    unsigned parts;        /* in flight */
    uint32_t held;         /* room for what is fetched */
    const Keyd__V1__Response *response; /* that is fetched for; in the box's arena */
    TAILQ_ENTRY(call) entry;
};
TAILQ_HEAD(calls, call);

enum flight_kind { FLIGHT_CALL, FLIGHT_UPLOAD, FLIGHT_FETCH };

struct flight {
    uint64_t id;
    unsigned oneof_case;
    enum flight_kind kind;
    uint32_t at, n;    /* of a part */
    struct call *call; /* NULL: nobody wants the answer */
    TAILQ_ENTRY(flight) entry;
};
TAILQ_HEAD(flights, flight);

enum link_phase {
    LINK_CLOSED,
    LINK_NAMING,
    LINK_CONNECTING,
    LINK_SHAKING,
    LINK_GREETING,
    LINK_READY
};

struct link {
    struct keyd_client *client;
    struct endpoint *endpoint; /* NULL: the connection of a client without any */
    enum link_phase phase;
    int sock;       /* or the descriptor that tells when the name was looked up */
    bool is_parted; /* objects go in parts */
    struct tls_session *tls; /* NULL: a unix socket, or a stream as it is */
    struct naming *naming;   /* while the name is looked up */
    struct addrinfo *names, *next_name;

    struct kd_frame_in in;
    struct kd_frame_out out;
    struct flights flying;
    struct calls calls;
    unsigned n_flying, n_moves, n_kind[KINDS];
    uint64_t hello_id;
    int64_t open_by;  /* greeted until then, or given up */
    int64_t heard_ms; /* octets came, or it began to owe answers */
    int64_t up_ms;    /* since then */
    struct keyd_server server;
    enum keyd_status why; /* it ended */
    char detail[49];
    bool write_failed; /* only what the server said before is still of interest */
    bool has_more;     /* octets wait here, not in the kernel */
    uint32_t watched;  /* what the client's epoll waits for */
};

/* How an endpoint takes one kind of operation. */
struct health {
    enum keyd_status why; /* of the last refusal */
    unsigned failures;    /* in a row */
    int64_t since_ms;     /* the last of them */
    int64_t again_ms;     /* left alone until then */
};

struct endpoint {
    struct link link;
    char *text;             /* the address as it was given */
    const char *path;       /* unix: in text */
    char *host, *port;      /* tls: */
    struct tls_setup *tls;  /* tls: */
    unsigned number, group; /* from 1; 0: none */
    unsigned failures;      /* of connecting, in a row */
    int64_t again_ms;       /* not connected to before */
    struct health health[KINDS];
    uint64_t n_answered, n_lost;
    bool has_worked; /* a request was answered on this connection */
};

struct keyd_client {
    struct link solo; /* the connection of a client without endpoints */
    struct endpoint *endpoints[KEYD_ENDPOINTS_MAX];
    unsigned n_endpoints;
    unsigned turn; /* where to begin looking for the next endpoint */
    int epoll;
    bool is_paused; /* closed: endpoints are left alone until the next request */
    bool is_dirty;  /* something was submitted since the last turn */
    struct keyd_options options;
    int64_t budget, budget_ms; /* retries left, in thousandths; as of then */
    int64_t launch_ms;         /* endpoints were looked at for what waits */

    struct kd_arena arena;
    struct calls waiting, later; /* later: by again_ms */
    struct boxes ended;
    size_t n_queued, n_pending; /* n_queued: waiting and later */
    uint64_t last_id;
    int64_t next_deadline; /* none is earlier; INT64_MAX: none at all */
    uint32_t deadline_ms;
    char detail[49]; /* of a call that was refused here */
    char name[65];
    bool in_callback;
    bool is_dying; /* free was called within a callback */
    struct kd_frame_scratch scratch;
};

/* ---- request.c */

/* Encodes the operation, without id, key and so on; *fd becomes the sealed memfd that
 * goes with it, or -1. KEYD_USAGE, KEYD_NOMEM. */
enum keyd_status request_encode(const struct keyd_request *in, const uint8_t *key,
                                struct kd_arena *arena, struct kd_buf *out,
                                int *fd) KD_MUST_USE;

/* Overwrites the secrets of a request with zeros. */
void request_wipe(const struct keyd_request *in);

/* True for operations that can be done any number of times to the same effect as
 * once. */
bool request_reads(enum keyd_op op);

/* True for those that carry what only one reader should see. */
bool request_is_secret(enum keyd_op op);

/* ---- answer.c */

/* Fills the box from a response of status OK that lives in the box's arena; fd (or -1)
 * stays the caller's. box->object holds n_object octets that came in parts (0: none).
 * KEYD_PROTOCOL if the object is not what the response says, KEYD_NOMEM. */
enum keyd_status answer_fill(struct box *box, const Keyd__V1__Response *m, int fd,
                             size_t n_object) KD_MUST_USE;

/* Octets of the object that comes apart from a response; 0: none does. */
uint32_t answer_object_size(const Keyd__V1__Response *m);

/* Room for n octets of an object; what is there stays. False without memory. */
bool box_hold(struct box *box, size_t n);

/* Ready for another attempt. */
void box_reset(struct box *box);
void box_free(struct box *box);

/* ---- client.c */

/* Ends a call: it will be called back. detail NULL: as it is in the box. */
void call_end(struct keyd_client *c, struct call *call, enum keyd_status status,
              const char *detail);

/* Off its link and into the list of those to be sent, or not before again_ms. */
void call_queue(struct keyd_client *c, struct call *call, int64_t again_ms);

/* Something is due at that time. */
void client_due(struct keyd_client *c, int64_t ms);

void set_text(char to[49], const char *from);
uint32_t random_number(void);

/* ---- link.c */

void link_init(struct link *l, struct keyd_client *c, struct endpoint *e);

/* Takes a connected socket and greets. KEYD_USAGE, KEYD_NOMEM. */
enum keyd_status link_adopt(struct link *l, int fd, int64_t open_by) KD_MUST_USE;

/* Begins to connect to the endpoint; what becomes of it is seen at link_end. */
void link_open(struct link *l, int64_t open_by);

/* Closes; every call on it goes to pool_lost or ends. Nothing on a closed one. */
void link_end(struct link *l, enum keyd_status why, const char *detail);

/* True if a request may be begun on it; and if this one may. */
bool link_has_room(const struct link *l);
bool link_takes(const struct link *l, const struct call *call);

/* Begins an attempt at a call that is in no list and that the link takes. */
void link_ask(struct link *l, struct call *call);

/* Sends a request of the library's own. KD_BUSY and so on as kd_rpc_put_request. */
kd_err link_request(struct link *l, const Keyd__V1__Request *m, enum flight_kind kind,
                    struct call *call, uint32_t at, uint32_t n) KD_MUST_USE;

/* Takes a call off the link; flights of it are answered to nobody. */
void link_forget(struct link *l, struct call *call);

void link_send(struct link *l);
void link_receive(struct link *l);

/* For epoll; 0 when closed. */
uint32_t link_wants(const struct link *l);

/* ---- parts.c */

/* Begins to upload the object of a call that was put on the link. KEYD_PROTOCOL if the
 * object cannot be read, KEYD_NOMEM. */
enum keyd_status parts_upload(struct link *l, struct call *call) KD_MUST_USE;

/* The response is that of the call, lives in the box's arena and has an object that is
 * to be fetched. */
void parts_fetch(struct call *call, const Keyd__V1__Response *m);

/* Sends parts, and asks for parts, as far as there is room. */
void parts_turn(struct link *l);

/* A part was answered with OK. False: the link has been ended. */
bool parts_answered(struct link *l, const struct flight *f, struct call *call,
                    const Keyd__V1__Response *m);

/* ---- pool.c */

unsigned op_kind(unsigned oneof_case);

/* The link on which a call may be begun now; NULL: none. */
struct link *pool_pick(struct keyd_client *c, const struct call *call, int64_t now);

/* The server refused; the call is in no list and has been taken off the link. */
void pool_refused(struct endpoint *e, struct call *call, enum keyd_status status,
                  uint32_t retry_after_ms);
void pool_answered(struct endpoint *e, const struct call *call);

/* The connection is gone: of a call on it, and of itself, after all of its calls. */
void pool_lost_call(struct endpoint *e, struct call *call, bool may_be_done);
void pool_lost(struct endpoint *e);

/* Connects what is due, wakes calls whose time has come, gives up what is silent. */
void pool_turn(struct keyd_client *c, int64_t now);

/* Nothing will do, for as long as can be seen. */
bool pool_is_hopeless(const struct keyd_client *c, const struct call *call,
                      int64_t now);

/* No link took a call that waits: one that others refused may have to wait for them. */
void pool_passed_over(struct keyd_client *c, struct call *call, int64_t now);

/* Why a call that was never sent was not: a status, and a word in detail. */
enum keyd_status pool_excuse(const struct keyd_client *c, const struct call *call,
                             char detail[49]);

/* When pool_turn has something to do; INT64_MAX: never. */
int64_t pool_due(const struct keyd_client *c);

/* Lets endpoints send; waits for them and lets them receive. */
void pool_send(struct keyd_client *c);
void pool_receive(struct keyd_client *c, int timeout_ms);

/* Ends all calls and connections. */
void pool_close(struct keyd_client *c);
void pool_free(struct keyd_client *c);

#endif

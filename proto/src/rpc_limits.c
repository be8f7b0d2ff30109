#include <keyd/rpc/rpc_pb.h>

/* One entry for each line of rpc_limits.def, the limits of a type behind its name. The
 * positions come from an enum with one (nameless, hence by line) member for each. */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

enum {
#define KD_RPC_TYPE(Message, c_name) AT_##c_name,
#define KD_RPC_LIMIT(kind, field, lo, hi, count) JOIN(AT_LINE_, __LINE__),
#include "../rpc_limits.def"
#undef KD_RPC_TYPE
#undef KD_RPC_LIMIT
};

static const struct kd_rpc_limit limits[] = {
#define KD_RPC_TYPE(Message, c_name) {.field = NULL},
#define KD_RPC_LIMIT(kind, field, lo, hi, count) {#field, kind, lo, hi, count},
#include "../rpc_limits.def"
#undef KD_RPC_TYPE
#undef KD_RPC_LIMIT
};

static const struct {
    const ProtobufCMessageDescriptor *type;
    const struct kd_rpc_limit *limits;
} types[] = {
#define KD_RPC_TYPE(Message, c_name)                                                   \
    {&keyd__v1__##c_name##__descriptor, &limits[AT_##c_name] + 1},
#define KD_RPC_LIMIT(kind, field, lo, hi, count)
#include "../rpc_limits.def"
#undef KD_RPC_TYPE
#undef KD_RPC_LIMIT
};

enum { N_TYPES = sizeof types / sizeof types[0] };

const struct kd_rpc_limit *
kd_rpc_limits(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].type == type)
            return types[i].limits;
    return NULL;
}

const ProtobufCMessageDescriptor *
kd_rpc_type(size_t at)
{
    return at < N_TYPES ? types[at].type : NULL;
}

#include <keyd/conf/role_conf.h>

uint32_t
kd_delay_least(uint32_t least)
{
    return least;
}

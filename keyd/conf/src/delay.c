#include <keyd/conf/role_conf.h>

uint32_t
kd_reset_delay_least(void)
{
    return 72 * 3600;
}

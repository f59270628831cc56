-- The tables as django-celery-beat 2.9.0 makes and fills them on SQLite.

CREATE TABLE "django_celery_beat_clockedschedule" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "clocked_time" datetime NOT NULL
);
INSERT INTO "django_celery_beat_clockedschedule" VALUES(1,'2099-01-31 08:00:00');
INSERT INTO "django_celery_beat_clockedschedule" VALUES(2,'2020-01-31 08:00:00');

CREATE TABLE "django_celery_beat_crontabschedule" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "minute" varchar(240) NOT NULL,
  "hour" varchar(96) NOT NULL,
  "day_of_week" varchar(64) NOT NULL,
  "day_of_month" varchar(124) NOT NULL,
  "month_of_year" varchar(64) NOT NULL,
  "timezone" varchar(63) NOT NULL
);
INSERT INTO "django_celery_beat_crontabschedule" VALUES(1,'30','8','mon-fri','*','*','Europe/Berlin');
INSERT INTO "django_celery_beat_crontabschedule" VALUES(2,'0','4','*','*','*','UTC');
INSERT INTO "django_celery_beat_crontabschedule" VALUES(3,'61','4','*','*','*','UTC');

CREATE TABLE "django_celery_beat_intervalschedule" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "every" integer NOT NULL,
  "period" varchar(24) NOT NULL
);
INSERT INTO "django_celery_beat_intervalschedule" VALUES(1,15,'minutes');
INSERT INTO "django_celery_beat_intervalschedule" VALUES(2,250000,'microseconds');

CREATE TABLE "django_celery_beat_periodictask" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(200) NOT NULL UNIQUE,
  "task" varchar(200) NOT NULL,
  "args" text NOT NULL,
  "kwargs" text NOT NULL,
  "queue" varchar(200) NULL,
  "exchange" varchar(200) NULL,
  "routing_key" varchar(200) NULL,
  "expires" datetime NULL,
  "enabled" bool NOT NULL,
  "last_run_at" datetime NULL,
  "total_run_count" integer unsigned NOT NULL CHECK ("total_run_count" >= 0),
  "date_changed" datetime NOT NULL,
  "description" text NOT NULL,
  "crontab_id" integer NULL REFERENCES "django_celery_beat_crontabschedule" ("id") DEFERRABLE INITIALLY DEFERRED,
  "interval_id" integer NULL REFERENCES "django_celery_beat_intervalschedule" ("id") DEFERRABLE INITIALLY DEFERRED,
  "solar_id" integer NULL REFERENCES "django_celery_beat_solarschedule" ("id") DEFERRABLE INITIALLY DEFERRED,
  "one_off" bool NOT NULL,
  "start_time" datetime NULL,
  "priority" integer unsigned NULL CHECK ("priority" >= 0),
  "headers" text NOT NULL,
  "clocked_id" integer NULL REFERENCES "django_celery_beat_clockedschedule" ("id") DEFERRABLE INITIALLY DEFERRED,
  "expire_seconds" integer unsigned NULL CHECK ("expire_seconds" >= 0)
);
INSERT INTO "django_celery_beat_periodictask" VALUES(1,'Daily report','shop.report','["eu"]','{"copies": 2}','reports',NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','For the board',1,NULL,NULL,0,NULL,7,'{"tenant": "eu"}',NULL,600);
INSERT INTO "django_celery_beat_periodictask" VALUES(2,'every quarter','shop.report','[]','{}',NULL,NULL,NULL,'2099-01-01 00:00:00',1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,'2098-01-01 00:00:00',NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(3,'quick','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,2,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(4,'sunset','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,NULL,1,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(5,'launch','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,NULL,NULL,1,NULL,NULL,'{}',1,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(6,'launched','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,NULL,NULL,1,NULL,NULL,'{}',2,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(7,'one of many','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,1,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(8,'once, done','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,1,'2026-11-20 14:18:39.014442','',NULL,1,NULL,1,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(9,'switched off','shop.report','[]','{}',NULL,NULL,NULL,NULL,0,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(10,'expired','shop.report','[]','{}',NULL,NULL,NULL,'2020-01-01 00:00:00',1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(11,'own route','shop.report','[]','{}',NULL,'ex','rk',NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(12,'other queue','shop.report','[]','{}','slow',NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(13,'unknown task','shop.gone','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(14,'bad json','shop.report','not json','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,1,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(15,'bad cron','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',3,NULL,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(16,'no schedule','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',NULL,NULL,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(17,'отчёт','shop.report','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',2,NULL,NULL,0,NULL,NULL,'{}',NULL,NULL);
INSERT INTO "django_celery_beat_periodictask" VALUES(18,'celery.backend_cleanup','celery.backend_cleanup','[]','{}',NULL,NULL,NULL,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','',2,NULL,NULL,0,NULL,NULL,'{}',NULL,43200);

CREATE TABLE "django_celery_beat_solarschedule" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "event" varchar(24) NOT NULL,
  "latitude" decimal NOT NULL,
  "longitude" decimal NOT NULL
);
INSERT INTO "django_celery_beat_solarschedule" VALUES(1,'sunset',52.520008,13.404954);
